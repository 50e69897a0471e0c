//! The command line that recipes and people rely on.
