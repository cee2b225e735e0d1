//! Attributes of subnet management and the records that subnet administration makes of them.

mod class;
mod extended;
mod node;
mod notice;
mod port;
mod records;
mod switch;
mod tables;

pub use class::{ClassPortInfo, InformInfo, Notice, NoticeType, ProducerType, SmInfo, SmState, TrapNumber};
pub use extended::{FecMode, MlnxExtPortInfo, PortInfoExtended};
pub use node::{NodeDescription, NodeInfo, NodeType};
pub use notice::{BadKeyDetails, BadMKeyDetails, CapabilityDetails, LinkStateDetails, SwitchBadPKeyDetails};
pub use port::{CapabilityMask, CapabilityMask2, PhysicalState, PortInfo, PortState};
pub use records::{
    GuidInfoRecord, InformInfoRecord, JoinState, LinearForwardingRecord, LinkRecord, McMemberRecord,
    MulticastForwardingRecord, NodeRecord, PKeyTableRecord, PathRecord, PortInfoRecord, Record,
    ServiceRecord, SlToVlRecord, SmInfoRecord, SwitchInfoRecord, VlArbitrationRecord,
};
pub use switch::SwitchInfo;
pub use tables::{
    GuidBlock, LinearBlock, MulticastBlock, PKeyBlock, SlToVlTable, VlArbitrationBlock, VlArbitrationEntry,
};
