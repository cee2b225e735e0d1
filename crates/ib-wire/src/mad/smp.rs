//! Subnet management packets, by LID and by directed route. IBA 1 §14.2.1.

use super::{MAD_LEN, MadHeader, MgmtClass, Status};
use crate::{
    addr::{Lid, MKey, PortNum},
    layout::{Truncated, layout, split},
};

layout! {
    /// A LID-routed SMP.
    pub struct LidSmp[256] {
        /// Common header, class `SUBN_LID`.
        header: MadHeader = 0, 192;
        /// Right to change the port.
        m_key: MKey = 192, 64;
        /// The attribute.
        data: [u8; 64] = 512, 512;
    }

    /// A directed-route SMP: it carries its way there and collects its way back.
    pub struct DirectedSmp[256] {
        /// Common header, class `SUBN_DIRECTED`. Use `is_return`, `hop_pointer`, `hop_count`, `status`.
        header: MadHeader = 0, 192;
        /// Right to change the port.
        m_key: MKey = 192, 64;
        /// Where the directed part starts; permissive if at the sender.
        source_lid: Lid = 256, 16;
        /// Where the directed part ends; permissive if at the destination.
        dest_lid: Lid = 272, 16;
        /// The attribute.
        data: [u8; 64] = 512, 512;
        /// Egress port of each hop, from 1.
        initial_path: [u8; 64] = 1024, 512;
        /// Ingress port of each hop, from 1, as collected.
        return_path: [u8; 64] = 1536, 512;
    }
}

/// The direction bit in the status word of a directed-route SMP.
const RETURN: u16 = 0x8000;

impl DirectedSmp {
    /// True on the way back.
    pub const fn is_return(&self) -> bool {
        self.header.status.0 & RETURN != 0
    }

    /// The status without the direction bit.
    pub const fn status(&self) -> Status {
        Status(self.header.status.0 & !RETURN)
    }

    /// Sets status and direction.
    pub fn set_status(&mut self, status: Status, is_return: bool) {
        self.header.status = Status(status.0 & !RETURN | if is_return { RETURN } else { 0 });
    }

    /// Where in the path the packet is.
    pub const fn hop_pointer(&self) -> u8 {
        self.header.class_specific.to_be_bytes()[0]
    }

    /// Length of the path, at most 63.
    pub const fn hop_count(&self) -> u8 {
        self.header.class_specific.to_be_bytes()[1]
    }

    /// Sets pointer and count.
    pub fn set_hops(&mut self, pointer: u8, count: u8) {
        self.header.class_specific = u16::from_be_bytes([pointer, count]);
    }
}

/// A way through the fabric, port by port. At most 63 hops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectedRoute {
    hops: u8,
    ports: [u8; 64],
}

impl DirectedRoute {
    /// The node itself.
    pub const HERE: Self = Self { hops: 0, ports: [0; 64] };
    /// Longest way.
    pub const MAX_HOPS: usize = 63;

    /// This way and one hop more, or `None` at 63 hops.
    pub fn then(mut self, port: PortNum) -> Option<Self> {
        if usize::from(self.hops) >= Self::MAX_HOPS {
            return None;
        }
        self.hops += 1;
        self.ports[usize::from(self.hops)] = port.0;
        Some(self)
    }

    /// Number of hops.
    pub const fn len(&self) -> usize {
        self.hops as usize
    }

    /// True for the node itself.
    pub const fn is_empty(&self) -> bool {
        self.hops == 0
    }

    /// Hop count as the SMP has it.
    pub const fn hop_count(&self) -> u8 {
        self.hops
    }

    /// The `initial_path` of an SMP; entry 0 is not used.
    pub const fn initial_path(&self) -> &[u8; 64] {
        &self.ports
    }

    /// The egress ports in order.
    pub fn ports(&self) -> impl Iterator<Item = PortNum> + '_ {
        self.ports[1..=self.len()].iter().map(|p| PortNum(*p))
    }
}

impl core::fmt::Debug for DirectedRoute {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "0")?;
        self.ports().try_for_each(|p| write!(f, ",{p}"))
    }
}

/// Either form of SMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smp {
    /// By LID.
    Lid(LidSmp),
    /// By directed route.
    Directed(DirectedSmp),
}

/// Why bytes are no SMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmpError {
    /// Fewer than 256 bytes.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Neither of the two subnet management classes.
    #[error("class {0} is not subnet management")]
    Class(MgmtClass),
    /// A directed route longer than 63 hops, or a pointer outside it.
    #[error("hop pointer {pointer} and hop count {count} do not fit")]
    Hops {
        /// Hop pointer.
        pointer: u8,
        /// Hop count.
        count: u8,
    },
}

impl Smp {
    /// Reads either form.
    pub fn parse(bytes: &[u8]) -> Result<Self, SmpError> {
        let (mad, _) = split::<MAD_LEN>(bytes)?;
        match MgmtClass(mad[1]) {
            MgmtClass::SUBN_LID => Ok(Self::Lid(LidSmp::from_bytes(mad))),
            MgmtClass::SUBN_DIRECTED => {
                let smp = DirectedSmp::from_bytes(mad);
                let (pointer, count) = (smp.hop_pointer(), smp.hop_count());
                if usize::from(count) > DirectedRoute::MAX_HOPS || pointer > count + 1 {
                    return Err(SmpError::Hops { pointer, count });
                }
                Ok(Self::Directed(smp))
            }
            class => Err(SmpError::Class(class)),
        }
    }

    /// The 256 bytes.
    pub fn to_bytes(&self) -> [u8; MAD_LEN] {
        match self {
            Self::Lid(smp) => smp.to_bytes(),
            Self::Directed(smp) => smp.to_bytes(),
        }
    }

    /// The common header.
    pub const fn header(&self) -> &MadHeader {
        match self {
            Self::Lid(smp) => &smp.header,
            Self::Directed(smp) => &smp.header,
        }
    }

    /// The attribute's bytes.
    pub const fn data(&self) -> &[u8; 64] {
        match self {
            Self::Lid(smp) => &smp.data,
            Self::Directed(smp) => &smp.data,
        }
    }

    /// The management key.
    pub const fn m_key(&self) -> MKey {
        match self {
            Self::Lid(smp) => smp.m_key,
            Self::Directed(smp) => smp.m_key,
        }
    }
}
