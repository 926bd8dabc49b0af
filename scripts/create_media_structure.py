#!/usr/bin/env python3
"""Make the media folders as `mediapool layout create` does; works from a checkout as it is."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from placement.layout import ROLES, LayoutError, create_layout, parse_access, parse_profile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--path", type=Path, default=Path(), help="folder to make data/ in (default: here)")
parser.add_argument("--profile", help='"apps": rights for the four programs below')
for role in ROLES:
    parser.add_argument(f"--{role.replace('_', '-')}", metavar="USER[:GROUP]", help="a name, or UID:GID")
parser.add_argument("--access", action="append", default=[], metavar="FOLDER=OWNER:GROUP:MODE")
parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
options = parser.parse_args()
try:
    profile = parse_profile(options.profile, {role: getattr(options, role) for role in ROLES})
    access = parse_access(options.access)
    for step in create_layout(options.path, profile, access=access, dry_run=options.dry_run):
        print(step)
except LayoutError as error:
    sys.exit(str(error))
