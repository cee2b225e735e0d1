//! Records that show the model of the subnet as it is: nodes, ports, switches, tables, links, managers.
//!
//! What the manager does not read (lane maps, lane arbitration, further GUIDs) gives empty tables. Who asks
//! sees ports of its own partitions only, and keys only if it is trusted.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Guid, Lid, MKey, PKey, PortNum},
    mad::{
        Method, Status,
        attr::{
            CapabilityMask, GuidBlock, GuidInfoRecord, LinearForwardingRecord, LinkRecord,
            MulticastForwardingRecord, NodeDescription, NodeRecord, PKeyBlock, PKeyTableRecord,
            PortInfoRecord, SlToVlRecord, SmInfo, SmInfoRecord, SwitchInfoRecord, VlArbitrationRecord,
        },
        sa::RecordId,
    },
};

use super::{
    answer::{Outcome, Records},
    mask::{Matched, matches},
    request::Request,
};
use crate::subnet::{LinearTable, MulticastTable, Node, PortId, Switch};

/// Answers Get and GetTable of the types that are here; `BAD_METHOD_ATTRIBUTE` for any other.
pub(super) fn query(request: &Request<'_>, managers: &[(Lid, SmInfo)], limit: usize) -> Outcome {
    if !matches!(request.mad.header.method, Method::GET | Method::GET_TABLE) {
        return Err(Status::BAD_METHOD_ATTRIBUTE);
    }
    let mut view = View { request, records: Records::up_to(limit) };
    match RecordId(request.mad.header.attribute.0) {
        RecordId::NODE => view.nodes()?,
        RecordId::PORT_INFO => view.ports()?,
        RecordId::SWITCH_INFO => view.switches()?,
        RecordId::LINEAR_FORWARDING => view.linear_tables()?,
        RecordId::MULTICAST_FORWARDING => view.multicast_tables()?,
        RecordId::SM_INFO => view.managers(managers)?,
        RecordId::LINK => view.links()?,
        RecordId::GUID_INFO => view.guids()?,
        RecordId::P_KEY_TABLE => view.pkeys()?,
        RecordId::SL_TO_VL => view.none::<SlToVlRecord>(),
        RecordId::VL_ARBITRATION => view.none::<VlArbitrationRecord>(),
        _ => return Err(Status::BAD_METHOD_ATTRIBUTE),
    }
    Ok(view.records)
}

struct View<'a, 'r> {
    request: &'a Request<'r>,
    records: Records,
}

impl<'r> View<'_, 'r> {
    /// Adds the record if the request's components match it.
    fn add<R: Matched>(&mut self, record: &R) -> Result<(), Status> {
        self.add_if(record, self.request.mad.component_mask)
    }

    fn add_if<R: Matched>(&mut self, record: &R, mask: u64) -> Result<(), Status> {
        self.records.add(record, |bytes| matches::<R>(mask, &self.request.mad.data, bytes))
    }

    #[expect(clippy::unused_self, reason = "one line of the table above like the others")]
    const fn none<R: Matched>(&self) {}

    /// The end ports that are asked for and may be seen.
    fn end_ports(&self) -> impl Iterator<Item = PortId> + use<'_, 'r> {
        let request = self.request;
        let by_lid = request.lid().map(|lid| request.subnet.end_port_by_lid(lid));
        let all =
            request.subnet.end_ports().map(|(id, _)| id).take(if by_lid.is_some() { 0 } else { usize::MAX });
        by_lid.flatten().into_iter().chain(all).filter(|id| request.may_see(*id))
    }

    /// The switches that are asked for and may be seen, with their LIDs.
    fn each_switch(&self) -> impl Iterator<Item = (Lid, &'r Node, &'r Switch)> + use<'_, 'r> {
        let subnet = self.request.subnet;
        self.end_ports().filter_map(move |id| {
            let node = subnet.node(id.node);
            Some((subnet.port(id)?.lid, node, node.switch.as_ref()?))
        })
    }

    fn nodes(&mut self) -> Result<(), Status> {
        let subnet = self.request.subnet;
        for id in collect(self.end_ports()) {
            let (node, Some(port)) = (subnet.node(id.node), subnet.port(id)) else { continue };
            let mut node_info = node.info;
            node_info.port_guid = port.guid;
            if !node.is_switch() {
                node_info.local_port = id.num;
            }
            let description = NodeDescription::new(&node.description);
            self.add(&NodeRecord { lid: port.lid, node_info, description })?;
        }
        Ok(())
    }

    fn ports(&mut self) -> Result<(), Status> {
        const CAPABILITIES: u64 = 1 << 7;
        const OPTIONS: u64 = 1 << 2;
        let asked: PortInfoRecord = self.request.record();
        // Asked so, the mask of capabilities names those that must be there, not all that are.
        let some = self.request.has(CAPABILITIES | OPTIONS) && asked.options & 0x80 != 0;
        let mask = self.request.mad.component_mask & !if some { CAPABILITIES } else { 0 };
        for (lid, id) in self.each_port() {
            let Some(mut port_info) = self.request.subnet.port(id).and_then(|port| port.info) else {
                continue;
            };
            if some && !port_info.capability_mask.has(CapabilityMask(asked.port_info.capability_mask.0)) {
                continue;
            }
            if !self.request.trusted {
                port_info.m_key = MKey(0);
            }
            self.add_if(&PortInfoRecord { end_port_lid: lid, port: id.num, options: 0, port_info }, mask)?;
        }
        Ok(())
    }

    /// End ports, and the other ports of switches under the LID of their port 0.
    fn each_port(&self) -> Vec<(Lid, PortId)> {
        let subnet = self.request.subnet;
        let lid = |id| subnet.port(id).map_or(Lid::NONE, |port| port.lid);
        let mut ports = Vec::new();
        for id in self.end_ports() {
            ports.push((lid(id), id));
            let node = subnet.node(id.node);
            if node.is_switch() {
                ports.extend(node.physical_ports().map(|(num, _)| (lid(id), PortId { node: id.node, num })));
            }
        }
        ports
    }

    fn switches(&mut self) -> Result<(), Status> {
        for (lid, _, switch) in collect(self.each_switch()) {
            self.add(&SwitchInfoRecord { lid, switch_info: switch.info })?;
        }
        Ok(())
    }

    fn linear_tables(&mut self) -> Result<(), Status> {
        const BLOCK: u64 = 1 << 1;
        let asked: LinearForwardingRecord = self.request.record();
        let only = self.request.has(BLOCK).then_some(asked.block);
        for (lid, _, switch) in collect(self.each_switch()) {
            for block in chosen(only, switch.lft.blocks()) {
                self.add(&LinearForwardingRecord { lid, block, ports: switch.lft.block(block) })?;
            }
        }
        Ok(())
    }

    fn multicast_tables(&mut self) -> Result<(), Status> {
        const BLOCK: u64 = 1 << 3;
        let asked: MulticastForwardingRecord = self.request.record();
        let only = self.request.has(BLOCK).then_some(asked.block);
        for (lid, node, switch) in collect(self.each_switch()) {
            for block in chosen(only, switch.mft.blocks()) {
                for position in 0..=node.info.num_ports / 16 {
                    let masks = switch.mft.block(block, position);
                    self.add(&MulticastForwardingRecord { lid, position, block, masks })?;
                }
            }
        }
        Ok(())
    }

    fn managers(&mut self, managers: &[(Lid, SmInfo)]) -> Result<(), Status> {
        for (lid, sm_info) in managers {
            let seen = self.request.subnet.end_port_by_lid(*lid).is_some_and(|id| self.request.may_see(id));
            if seen {
                let sm_key = if self.request.trusted { sm_info.sm_key } else { 0 };
                self.add(&SmInfoRecord { lid: *lid, sm_info: SmInfo { sm_key, ..*sm_info } })?;
            }
        }
        Ok(())
    }

    fn links(&mut self) -> Result<(), Status> {
        let subnet = self.request.subnet;
        let lid = |id: PortId| {
            let is_switch = subnet.node(id.node).is_switch();
            let num = if is_switch { PortNum::MANAGEMENT } else { id.num };
            let end = PortId { node: id.node, num };
            subnet.port(end).filter(|_| self.request.may_see(end)).map(|port| port.lid)
        };
        let mut links = Vec::new();
        for (from_lid, id) in self.each_port() {
            let Some(peer) = subnet.port(id).and_then(|port| port.peer) else { continue };
            let Some(to_lid) = lid(peer) else { continue };
            links.push(LinkRecord { from_lid, from_port: id.num, to_port: peer.num, to_lid });
        }
        links.iter().try_for_each(|link| self.add(link))
    }

    fn guids(&mut self) -> Result<(), Status> {
        let subnet = self.request.subnet;
        for id in collect(self.end_ports()) {
            let Some(port) = subnet.port(id) else { continue };
            let mut guids = [Guid::ZERO; 8];
            guids[0] = port.guid;
            self.add(&GuidInfoRecord { lid: port.lid, block: 0, guids: GuidBlock(guids) })?;
        }
        Ok(())
    }

    /// Who may talk with whom is nobody's business without trust.
    fn pkeys(&mut self) -> Result<(), Status> {
        if !self.request.trusted {
            return Err(Status::SA_INVALID);
        }
        for (lid, id) in self.each_port() {
            let Some(port) = self.request.subnet.port(id) else { continue };
            for (block, keys) in (0u16..).zip(port.pkeys.chunks(32)) {
                let keys = PKeyBlock(core::array::from_fn(|i| keys.get(i).copied().unwrap_or(PKey::INVALID)));
                self.add(&PKeyTableRecord { lid, block, port: id.num, keys })?;
            }
        }
        Ok(())
    }
}

/// The one block asked for if there is such, or all.
fn chosen(only: Option<u16>, blocks: u16) -> core::ops::Range<u16> {
    match only {
        Some(block) if block < blocks => block..block + 1,
        Some(_) => 0..0,
        None => 0..blocks,
    }
}

fn collect<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect()
}

const _: () = assert!(LinearTable::BLOCK == 64 && MulticastTable::BLOCK == 32);
