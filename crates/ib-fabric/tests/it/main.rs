//! A fabric from outside: programmed by SMPs alone, as an SM would, and then used.

mod agents;
mod counters;
mod faults;
mod forwarding;
mod keys;
mod malformed;
mod management;
mod routes;
mod taps;
mod traps;
mod world;
