"""Programs that keep a library of what lies in the tree, and are told when something of it moves or fails."""
