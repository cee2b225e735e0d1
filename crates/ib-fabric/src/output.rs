//! What comes out of a fabric.

use ib_wire::{
    addr::Qpn,
    packet::Packet,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, UdReceived},
};

use crate::id::{AgentId, LinkId, PortId, TapId};

/// Something for the software at a port, or for whoever set a tap.
#[derive(Clone, Debug)]
pub enum Output {
    /// A queue pair received a datagram.
    Received {
        /// Where.
        port: PortId,
        /// Which queue pair.
        qpn: Qpn,
        /// What.
        datagram: UdReceived,
    },
    /// An agent received a MAD.
    Mad {
        /// Where.
        port: PortId,
        /// Which agent.
        agent: AgentId,
        /// The far end, ready to be answered: of a GRH, `dgid` is the far end's.
        from: MadAddress,
        /// The MAD, always 256 bytes.
        mad: Payload,
    },
    /// A port changed; `Fabric::port_view` tells how it is now.
    Port {
        /// Which.
        port: PortId,
        /// How.
        event: PortEvent,
    },
    /// A packet leaves by a link that leads out of the fabric.
    Leaves {
        /// Which.
        link: LinkId,
        /// The packet; a large send is still whole, and `Packet::emit_all` cuts it.
        packet: Packet,
    },
    /// A link that leads out of the fabric came up, went down, or has another neighbour, as `Fabric::outside` tells.
    Outside {
        /// Which.
        link: LinkId,
        /// True while packets may pass.
        up: bool,
    },
    /// A packet went over a tapped link.
    Tapped {
        /// Which tap.
        tap: TapId,
        /// Which link.
        link: LinkId,
        /// True if it went from the link's end `a` to its end `b`.
        from_a: bool,
        /// When it was put on the link.
        at: Instant,
        /// The packet, before the link's model did anything to it. A large send is still whole.
        packet: Packet,
    },
}
