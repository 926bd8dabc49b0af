"""The checks of `mediapool doctor`, one module for each kind. None of them changes anything."""
