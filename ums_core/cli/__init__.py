"""The command line, ``ums``: one file a group of commands, put together in ``app``. Needs the extra ``cli``."""
