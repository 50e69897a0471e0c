//! Bad input is refused, by name, with the documented exit code.
