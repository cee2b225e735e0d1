//! End ports: where software and management agents sit.

mod agent;

pub use agent::{AgentSpec, MethodMask};
