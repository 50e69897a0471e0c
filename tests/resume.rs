//! Collections and runs that are killed come to the same end.
