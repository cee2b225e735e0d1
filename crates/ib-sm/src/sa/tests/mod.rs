//! Scripts in virtual time against a small subnet made by hand: one switch, hosts 1 to n on its ports 1 to n,
//! the manager on host 1. Host n has LID n and GUID 0x100 + n; the switch has LID 100.

mod inform;
mod member;
mod path;
mod records;
mod requests;
mod service;

use alloc::{vec, vec::Vec};

use ib_wire::{
    addr::*,
    mad::{
        AttributeId, Mad, MadHeader, Method, MgmtClass, Status,
        attr::*,
        rmpp::Receiver,
        sa::{RecordId, RmppHeader, RmppType, SaMad},
    },
    time::Instant,
    ud::MadAddress,
};

use super::{Administration, SaConfig};
use crate::{
    demand::{Demand, GroupMember, PortChange},
    partition::Partitions,
    subnet::{LinearTable, MulticastTable, NodeId, PortId, Subnet, Switch},
};

const NOW: Instant = Instant::from_secs(100);
const SWITCH_LID: u16 = 1000;
const SM_KEY: u64 = 1;

fn node_info(node_type: NodeType, ports: u8, guid: u64) -> NodeInfo {
    NodeInfo {
        base_version: 1,
        class_version: 1,
        node_type,
        num_ports: ports,
        system_image_guid: Guid(guid),
        node_guid: Guid(guid),
        port_guid: Guid(guid),
        partition_cap: 32,
        device_id: 0,
        revision: 0,
        local_port: PortNum(1),
        vendor_id: 0,
    }
}

/// A port with a 4x QDR link of 2048 bytes: rate code 7.
fn port_info(lid: u16) -> PortInfo {
    let mut info = PortInfo::from_bytes(&[0; 64]);
    info.m_key = MKey(0x77);
    info.lid = Lid(lid);
    info.state = PortState::ACTIVE;
    info.physical_state = PhysicalState::LINK_UP;
    info.link_width_active = LinkWidth::X4;
    info.link_speed_active = 4;
    info.neighbor_mtu = Mtu::B2048;
    info.mtu_cap = Mtu::B4096;
    info.capability_mask = CapabilityMask::SL_MAPPING;
    info
}

fn gid(host: u16) -> Gid {
    Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x100 + u64::from(host)))
}

fn mgid(text: &str) -> Gid {
    text.parse().unwrap()
}

/// The administration in charge of a subnet, and what it said.
struct Script {
    now: Instant,
    subnet: Subnet,
    sa: Administration,
    switch: NodeId,
    tid: u64,
    /// Everything but answers that were awaited.
    sent: Vec<(MadAddress, SaMad)>,
    groups: Vec<(MulticastLid, Vec<GroupMember>)>,
}

impl Script {
    fn new(hosts: u16) -> Self {
        Self::with(hosts, SaConfig::default(), Partitions::default())
    }

    fn with(hosts: u16, config: SaConfig, partitions: Partitions) -> Self {
        let mut subnet = Subnet::new(SubnetPrefix::LINK_LOCAL);
        let ports = u8::try_from(hosts.min(250)).unwrap();
        let switch = subnet.insert(node_info(NodeType::SWITCH, ports, 0x5000));
        let node = subnet.node_mut(switch);
        node.present = true;
        node.description = "sw1".into();
        node.ports[0].info = Some(port_info(SWITCH_LID));
        node.ports[0].pkeys = vec![PKey::DEFAULT_FULL];
        let mut info = SwitchInfo::from_bytes(&[0; 20]);
        info.multicast_fdb_cap = 64;
        node.switch = Some(Switch { info, lft: LinearTable::new(), mft: MulticastTable::new(ports) });
        subnet.set_port_guid(PortId { node: switch, num: PortNum(0) }, Guid(0x5000));
        subnet.set_lid(PortId { node: switch, num: PortNum(0) }, Lid(SWITCH_LID));
        for host in 1..=hosts {
            Self::add_host(&mut subnet, switch, host, &partitions);
        }
        let mut lft = vec![255; 1001];
        lft[usize::from(SWITCH_LID)] = 0;
        for host in 1..=hosts.min(250) {
            lft[usize::from(host)] = u8::try_from(host).unwrap();
        }
        subnet.switch_mut(switch).unwrap().lft.want(lft);
        let own = subnet.end_port_by_lid(Lid(1)).unwrap();
        subnet.set_own(own);
        let mut sa = Administration::new(config, partitions);
        sa.set_master(NOW, &subnet, true);
        Self { now: NOW, subnet, sa, switch, tid: 0, sent: Vec::new(), groups: Vec::new() }
    }

    fn add_host(subnet: &mut Subnet, switch: NodeId, host: u16, partitions: &Partitions) {
        let guid = 0x100 + u64::from(host);
        let node = subnet.insert(node_info(NodeType::CA, 1, guid + 0x1_0000));
        let id = PortId { node, num: PortNum(1) };
        subnet.node_mut(node).present = true;
        let identity =
            crate::partition::Identity { guid: Guid(guid), node_type: NodeType::CA, is_own: host == 1 };
        let port = subnet.port_mut(id).unwrap();
        port.info = Some(port_info(host));
        port.pkeys = partitions.pkeys(identity);
        subnet.set_port_guid(id, Guid(guid));
        subnet.set_lid(id, Lid(host));
        // What one switch has no port for hangs on others, of which nothing more is known.
        let (at, num) = match u8::try_from(host) {
            Ok(num @ ..=250) => (switch, num),
            _ => (
                subnet.insert(node_info(NodeType::SWITCH, 250, 0x6000 + u64::from(host) / 250)),
                u8::try_from(host % 250 + 1).unwrap(),
            ),
        };
        let at = PortId { node: at, num: PortNum(num) };
        subnet.port_mut(at).unwrap().info = Some(port_info(0));
        subnet.link(id, at);
    }

    fn port(&self, host: u16) -> PortId {
        self.subnet.end_port_by_lid(Lid(host)).unwrap()
    }

    fn port_mut(&mut self, host: u16) -> &mut crate::subnet::Port {
        let id = self.port(host);
        self.subnet.port_mut(id).unwrap()
    }

    fn request(&mut self, method: Method, id: impl Into<AttributeId>, mask: u64, record: &[u8]) -> SaMad {
        self.tid += 1;
        let mut header = MadHeader::request(MgmtClass::SUBN_ADM, method, id.into(), 0);
        header.tid = Tid(self.tid);
        let mut data = [0; 200];
        data[..record.len()].copy_from_slice(record);
        SaMad { header, rmpp: RmppHeader::NONE, sm_key: 0, attribute_offset: 0, component_mask: mask, data }
    }

    /// Hands a MAD in and collects what comes out.
    fn hand_in(&mut self, host: u16, mad: &SaMad) {
        let from = MadAddress::gsi(Lid(host), ServiceLevel::new(0));
        let mad: Mad = mad.to_bytes();
        self.sa.handle_mad(self.now, &self.subnet, from, &mad);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(demand) = self.sa.poll_output() {
            match demand {
                Demand::Send { to, mad } => self.sent.push((to, SaMad::from_bytes(&mad))),
                Demand::Group { mlid, members } => self.groups.push((mlid, members)),
            }
        }
    }

    /// Asks and takes the answer.
    fn ask_mad(&mut self, host: u16, mad: SaMad) -> SaMad {
        self.hand_in(host, &mad);
        let at = self.sent.iter().position(|(to, answer)| {
            to.lid == Lid(host) && answer.header.is_response() && answer.header.tid == mad.header.tid
        });
        self.sent.remove(at.expect("every such request is answered")).1
    }

    fn ask<R: Record>(&mut self, host: u16, method: Method, mask: u64, record: &[u8]) -> Result<R, Status> {
        let mad = self.request(method, R::ID, mask, record);
        one(&self.ask_mad(host, mad))
    }

    fn ask_trusted<R: Record>(
        &mut self,
        host: u16,
        method: Method,
        mask: u64,
        rec: &[u8],
    ) -> Result<R, Status> {
        let mut mad = self.request(method, R::ID, mask, rec);
        mad.sm_key = SM_KEY;
        one(&self.ask_mad(host, mad))
    }

    /// Asks for a table and carries the whole transfer.
    fn table<R: Record>(
        &mut self,
        host: u16,
        sm_key: u64,
        mask: u64,
        record: &[u8],
    ) -> Result<Vec<R>, Status> {
        let mut mad = self.request(Method::GET_TABLE, R::ID, mask, record);
        mad.sm_key = sm_key;
        let mut receiver = Receiver::new(self.now, Default::default());
        self.hand_in(host, &mad);
        loop {
            let parts: Vec<_> = core::mem::take(&mut self.sent);
            assert!(!parts.is_empty(), "the transfer goes on");
            for (_, part) in parts {
                if part.rmpp.kind != RmppType::DATA {
                    return Err(part.header.status);
                }
                receiver.handle_mad(self.now, &part);
                while let Some(ack) = receiver.poll_output() {
                    self.hand_in(host, &ack);
                }
            }
            if let Some(message) = receiver.take_message() {
                assert_eq!(self.sa.snapshot().transfers, 0);
                let offset = usize::from(message.first.attribute_offset) * 8;
                assert_eq!(offset == 0, message.records.is_empty());
                return Ok(message.records.chunks(offset.max(1)).map(|r| R::read(r).unwrap()).collect());
            }
        }
    }

    /// Lets time pass, timer by timer.
    fn run_until(&mut self, then: Instant) {
        while let Some(next) = self.sa.poll_timeout().filter(|next| *next <= then) {
            self.now = self.now.max(next);
            self.sa.handle_timeout(self.now, &self.subnet);
            self.collect();
        }
        self.now = then;
    }

    fn vanish(&mut self, host: u16) {
        let id = self.port(host);
        self.subnet.node_mut(id.node).present = false;
        self.sa.handle_port_change(self.now, &self.subnet, PortChange::Vanished(id));
        self.collect();
    }
}

fn one<R: Record>(answer: &SaMad) -> Result<R, Status> {
    assert_eq!(answer.sm_key, 0, "answers name no key");
    if answer.header.status != Status::OK {
        return Err(answer.header.status);
    }
    assert_eq!(answer.attribute_offset, R::OFFSET);
    Ok(R::read(&answer.data).unwrap())
}
