//! The manager against an emulated fabric, in virtual time.

mod bench;
mod bring_up;
mod change;
mod groups;
mod managers;
