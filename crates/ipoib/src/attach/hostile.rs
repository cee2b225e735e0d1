//! Drivers and fabrics that mean it no good: what bytes describe is played, and judged. For `fuzz/` and for tests.
//!
//! [`driver`] is a fabric with two drivers that are as they should be and one that does what it likes, to its rings, its
//! bell and its connection. Whatever that is: no panic, the two go on talking to each other, and who was cut off gets
//! its port again. [`fabric`] is a driver whose fabric does what it likes: no panic, and the end of it has a name.

mod choices;
mod evil;
mod forged;
mod honest;
mod scene;

pub use self::{evil::driver, forged::fabric};

#[cfg(test)]
pub(super) use self::{evil::Evil, honest::Honest, scene::Scene};
