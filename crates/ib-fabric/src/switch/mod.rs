//! A switch: forwarding by tables that an SM wrote. IBA 1 §18.2.4.

mod forwarding;

use alloc::vec::Vec;

pub(crate) use forwarding::{LinearTable, MulticastTable, PortSet};
use ib_wire::{
    addr::{Lid, MulticastLid, PortNum, Timeout},
    mad::attr::SwitchInfo,
};

use crate::{config::FabricConfig, drop::Drop, lanes::Lanes};

/// Tables and settings of a switch.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Capacities and settings.
    pub(crate) info: SwitchInfo,
    /// Unicast.
    pub(crate) linear: LinearTable,
    /// Multicast.
    pub(crate) multicast: MulticastTable,
    /// Lanes by `in * ports + out`; empty until an SM writes one.
    lanes: Vec<Lanes>,
    /// External ports and port 0.
    ports: usize,
}

impl Switch {
    /// A switch with `external` ports besides port 0, as it is when power comes.
    pub(crate) fn new(config: &FabricConfig, external: u8, enhanced_port0: bool) -> Self {
        let info = SwitchInfo {
            linear_fdb_cap: config.linear_fdb_cap,
            random_fdb_cap: 0,
            multicast_fdb_cap: config.multicast_fdb_cap,
            linear_fdb_top: Lid::NONE,
            default_port: PortNum::ALL,
            default_multicast_primary_port: PortNum::ALL,
            default_multicast_not_primary_port: PortNum::ALL,
            life_time: Timeout(0x12),
            port_state_change: false,
            optimized_sl_to_vl: 1,
            lids_per_port: 0,
            partition_enforcement_cap: config.partition_enforcement_cap,
            inbound_enforcement_cap: true,
            outbound_enforcement_cap: true,
            filter_raw_inbound_cap: true,
            filter_raw_outbound_cap: true,
            enhanced_port0,
            multicast_fdb_top: Lid::NONE,
        };
        Self {
            info,
            linear: LinearTable::new(config.linear_fdb_cap),
            multicast: MulticastTable::new(config.multicast_fdb_cap),
            lanes: Vec::new(),
            ports: usize::from(external) + 1,
        }
    }

    /// The way out for a unicast LID.
    #[inline]
    pub(crate) fn unicast(&self, dlid: Lid) -> Result<PortNum, Drop> {
        let port = if dlid <= self.info.linear_fdb_top { self.linear.get(dlid) } else { PortNum::ALL };
        if port == PortNum::ALL {
            return Err(Drop::NoRoute);
        }
        if usize::from(port.0) < self.ports { Ok(port) } else { Err(Drop::NoSuchPort) }
    }

    /// The ways out for a multicast LID of what came in through `ingress`, which is never among them.
    pub(crate) fn group(&self, mlid: MulticastLid, ingress: PortNum) -> Result<PortSet, Drop> {
        let beyond_top =
            self.info.multicast_fdb_top != Lid::NONE && Lid::from(mlid) > self.info.multicast_fdb_top;
        let mut ports = if beyond_top { PortSet::default() } else { self.multicast.get(mlid) };
        if ports.is_empty() {
            ports.insert(self.default_multicast_port(ingress));
        }
        ports.keep_below(self.ports);
        ports.remove(ingress);
        if ports.is_empty() { Err(Drop::NoGroup) } else { Ok(ports) }
    }

    /// How the lanes of what goes from one port to another are mapped.
    #[inline]
    pub(crate) fn lanes(&self, from: PortNum, to: PortNum) -> Lanes {
        self.lanes.get(usize::from(from.0) * self.ports + usize::from(to.0)).copied().unwrap_or_default()
    }

    /// Writes such a mapping; no matter if there is no such port.
    pub(crate) fn set_lanes(&mut self, from: PortNum, to: PortNum, lanes: Lanes) {
        if usize::from(to.0) >= self.ports || usize::from(from.0) >= self.ports {
            return;
        }
        if self.lanes.is_empty() {
            self.lanes.resize(self.ports * self.ports, Lanes::default());
        }
        self.lanes[usize::from(from.0) * self.ports + usize::from(to.0)] = lanes;
    }

    fn default_multicast_port(&self, ingress: PortNum) -> PortNum {
        let primary = self.info.default_multicast_primary_port;
        if ingress == primary { self.info.default_multicast_not_primary_port } else { primary }
    }
}
