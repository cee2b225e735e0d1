//! The command line: arguments as typed, the plan they come to, and the verbs.

pub mod plan;
