//! A fabric from outside: programmed by SMPs alone, as an SM would, and then used.

mod counters;
mod faults;
mod forwarding;
mod keys;
mod malformed;
mod management;
mod taps;
mod traps;
mod world;
