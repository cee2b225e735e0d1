//! A fabric from outside: programmed by SMPs alone, as an SM would, and then used.

mod agents;
mod classes;
mod counters;
mod express;
mod faults;
mod forwarding;
mod keys;
mod lane_counters;
mod malformed;
mod management;
mod outside;
mod routes;
mod samples;
mod taps;
mod traps;
mod world;
