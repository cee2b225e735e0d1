//! The heads of records, as they stand in memory.

use ib_wire::{
    addr::{Gid, Lid, Rate, ServiceLevel},
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::GlobalRoute,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::BadRecord;
use crate::{face::IP_AT, os::ring::LINE};

/// Bytes of the IPoIB header, in front of what offsets count from.
pub(in crate::attach) const ENCAPSULATION: usize = 4;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Route {
    pub(super) lid: u16,
    pub(super) sl: u8,
    pub(super) rate: u8,
    pub(super) has_global: u8,
    pub(super) hop_limit: u8,
    pub(super) traffic_class: u8,
    pub(super) zero: u8,
    pub(super) flow_label: u32,
    pub(super) sgid: [u8; 16],
    pub(super) dgid: [u8; 16],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Undone {
    pub(super) checksum: u8,
    pub(super) segments: u8,
    pub(super) ecn: u8,
    pub(super) zero: u8,
    pub(super) start: u16,
    pub(super) offset: u16,
    pub(super) size: u16,
    pub(super) header: u16,
    /// So that an IP packet begins where in a cache line it is to begin; the record begins one.
    pub(super) room: u32,
}

const _: () = assert!((size_of::<SendHead>() + ENCAPSULATION) % LINE == IP_AT);
const _: () = assert!(size_of::<SendHead>() == size_of::<ReceivedHead>());

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct SendHead {
    pub(super) kind: u16,
    pub(super) nth: u16,
    pub(super) qpn: u32,
    pub(super) qkey: u32,
    pub(super) route: Route,
    pub(super) undone: Undone,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct MadHead {
    pub(super) kind: u16,
    pub(super) nth: u16,
    pub(super) qpn: u32,
    pub(super) pkey: u16,
    pub(super) zero: u16,
    pub(super) route: Route,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct QpHead {
    pub(super) kind: u16,
    pub(super) nth: u16,
    pub(super) qkey: u32,
    pub(super) pkey: u16,
    pub(super) mlid: u16,
    pub(super) mgid: [u8; 16],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ReceivedHead {
    pub(super) kind: u16,
    pub(super) nth: u16,
    pub(super) src_qp: u32,
    pub(super) slid: u16,
    pub(super) dlid: u16,
    pub(super) pkey: u16,
    pub(super) sl: u8,
    pub(super) has_grh: u8,
    pub(super) grh: [u8; 40],
    pub(super) undone: Undone,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct PortHead {
    pub(super) kind: u16,
    pub(super) event: u8,
    pub(super) state: u8,
    pub(super) physical_state: u8,
    pub(super) lmc: u8,
    pub(super) lid: u16,
    pub(super) guid: u64,
    pub(super) prefix: u64,
    pub(super) sm_lid: u16,
    pub(super) sm_sl: u8,
    pub(super) mtu: u8,
    pub(super) rate: u8,
    pub(super) subnet_timeout: u8,
    pub(super) zero: u16,
}

impl Route {
    pub(super) fn of(lid: Lid, sl: ServiceLevel, rate: Rate, global: Option<&GlobalRoute>) -> Self {
        let none =
            GlobalRoute { sgid: Gid::ZERO, dgid: Gid::ZERO, traffic_class: 0, flow_label: 0, hop_limit: 0 };
        let route = global.unwrap_or(&none);
        Self {
            lid: lid.0,
            sl: sl.get(),
            rate: rate.0,
            has_global: global.is_some().into(),
            hop_limit: route.hop_limit,
            traffic_class: route.traffic_class,
            zero: 0,
            flow_label: route.flow_label,
            sgid: route.sgid.0,
            dgid: route.dgid.0,
        }
    }

    pub(super) fn global(&self) -> Option<GlobalRoute> {
        (self.has_global != 0).then_some(GlobalRoute {
            sgid: Gid(self.sgid),
            dgid: Gid(self.dgid),
            traffic_class: self.traffic_class,
            flow_label: self.flow_label & 0xf_ffff,
            hop_limit: self.hop_limit,
        })
    }
}

impl From<&Offload> for Undone {
    fn from(offload: &Offload) -> Self {
        let (checksum, start, offset) = match offload.checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Verified => (1, 0, 0),
            Checksum::Partial { start, offset } => (2, start, offset),
        };
        let kind = |segments: Segments| match segments.kind {
            SegmentKind::Tcp4 => 1,
            SegmentKind::Tcp6 => 2,
            SegmentKind::Udp => 3,
        };
        let segments = offload.segments;
        Self {
            checksum,
            segments: segments.map_or(0, kind),
            ecn: segments.is_some_and(|segments| segments.ecn).into(),
            zero: 0,
            start,
            offset,
            size: segments.map_or(0, |segments| segments.size),
            header: segments.map_or(0, |segments| segments.header),
            room: 0,
        }
    }
}

impl Undone {
    /// What is left to do for a payload of `len` bytes, if it can be done.
    pub(super) fn read(&self, len: usize) -> Result<Offload, BadRecord> {
        let ip_len = len.saturating_sub(ENCAPSULATION);
        let checksum = match self.checksum {
            0 => Checksum::Complete,
            1 => Checksum::Verified,
            2 if usize::from(self.start) + usize::from(self.offset) + 2 <= ip_len => {
                Checksum::Partial { start: self.start, offset: self.offset }
            }
            _ => return Err(BadRecord::Value("the checksum")),
        };
        let kind = match self.segments {
            0 => return Ok(Offload { checksum, segments: None }),
            1 => SegmentKind::Tcp4,
            2 => SegmentKind::Tcp6,
            3 => SegmentKind::Udp,
            _ => return Err(BadRecord::Value("the segments")),
        };
        let unfinished = matches!(checksum, Checksum::Partial { .. });
        if !unfinished || self.size == 0 || usize::from(self.header) > ip_len {
            return Err(BadRecord::Value("the segments"));
        }
        let segments = Segments { kind, size: self.size, header: self.header, ecn: self.ecn != 0 };
        Ok(Offload { checksum, segments: Some(segments) })
    }
}
