//! Packets as a link carries them: headers, payload, checksums.

mod datagram;
mod headers;

pub use datagram::{GlobalRoute, Measure, Packet, PacketError, PacketSpec, seal};
pub use headers::{Bth, Deth, Grh, Lrh, NextHeader, Opcode};
