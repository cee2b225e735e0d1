//! What ports report: refused packets, links that change, capabilities that change. IBA 1 §14.3.

use ib_wire::{
    addr::{Gid, Lid, PortNum, Qpn},
    mad::{
        attr::{
            BadKeyDetails, BadMKeyDetails, CapabilityDetails, CapabilityMask, LinkStateDetails,
            NodeDescription, Notice, NoticeType, SwitchBadPKeyDetails, TrapNumber,
        },
        smp::Smp,
    },
    packet::Packet,
    time::Instant,
};

use crate::{
    drop::Drop,
    fabric::{Fabric, Later},
    flight::{Flight, Step},
    id::{NodeId, PortId},
};

impl Fabric {
    /// Says that a subnet manager runs behind the port, or no longer does; tells the master SM.
    pub fn set_is_sm(&mut self, now: Instant, port: PortId, is_sm: bool) {
        let info = &mut self.ports[self.ends[port.index()].port].info;
        let bit = CapabilityMask::IS_SM;
        let mask = info.capability_mask;
        info.capability_mask = if is_sm { mask.and(bit) } else { mask.without(bit) };
        if info.capability_mask != mask {
            self.raise_capability(now, port.index(), 0);
            self.run(now);
        }
    }

    /// Changes NodeDescription; tells the master SM through every port.
    pub fn set_node_description(&mut self, now: Instant, node: NodeId, text: &str) {
        let node = &mut self.nodes[node.index()];
        let description = NodeDescription::new(text);
        if node.description == description {
            return;
        }
        node.description = description;
        for end in node.ends.clone() {
            self.raise_capability(now, end, CapabilityDetails::NODE_DESCRIPTION);
        }
        self.run(now);
    }

    /// A port of a switch changed its state: trap 128.
    pub(crate) fn raise_link_state(&mut self, now: Instant, node: usize) {
        let end = self.nodes[node].ends.start;
        let lid = self.ports[self.ends[end].port].info.lid;
        let details = LinkStateDetails { lid }.to_bytes();
        self.raise(now, end, TrapNumber::LINK_STATE, NoticeType::URGENT, details);
    }

    /// A request had the wrong M_Key: trap 256.
    pub(crate) fn refuse_key(&mut self, now: Instant, end: usize, flight: &Flight, smp: &Smp) {
        let info = &mut self.ports[self.ends[end].port].info;
        info.m_key_violations = info.m_key_violations.saturating_add(1);
        self.start_lease(now, end);
        let header = smp.header();
        let (dr_slid, hop_count, return_path) = match smp {
            Smp::Directed(smp) => (smp.source_lid, smp.hop_count(), smp.return_path),
            Smp::Lid(_) => (Lid::NONE, 0, [0; 64]),
        };
        let details = BadMKeyDetails {
            lid: flight.packet.lrh.slid,
            dr_slid,
            method: header.method,
            attribute: header.attribute,
            modifier: header.modifier,
            m_key: smp.m_key(),
            directed: matches!(smp, Smp::Directed(_)),
            truncated: hop_count > 30,
            hop_count: hop_count.min(30),
            return_path: core::array::from_fn(|i| return_path[i + 1]),
        };
        self.raise(now, end, TrapNumber::BAD_M_KEY, NoticeType::SECURITY, details.to_bytes());
    }

    /// A packet had the wrong P_Key or Q_Key for a queue pair: traps 257 and 258. Other reasons pass through.
    pub(crate) fn violated(
        &mut self,
        now: Instant,
        end: usize,
        qpn: Qpn,
        reason: Drop,
        flight: &Flight,
    ) -> Drop {
        let packet = &flight.packet;
        let info = &mut self.ports[self.ends[end].port].info;
        let (trap, key, count) = match reason {
            Drop::PKeyMismatch => {
                (TrapNumber::BAD_P_KEY, packet.bth.pkey.0.into(), &mut info.p_key_violations)
            }
            Drop::QKeyMismatch => (TrapNumber::BAD_Q_KEY, packet.deth.qkey.0, &mut info.q_key_violations),
            _ => return reason,
        };
        *count = count.saturating_add(1);
        if flight.multicast && info.multicast_pkey_trap_suppression != 0 {
            return reason;
        }
        let (gid1, gid2) = gids(packet);
        let details = BadKeyDetails {
            lid1: packet.lrh.slid,
            lid2: packet.lrh.dlid,
            key,
            sl: packet.lrh.sl,
            qp1: packet.deth.src_qp,
            qp2: qpn,
            gid1,
            gid2,
        };
        self.raise(now, end, trap, NoticeType::SECURITY, details.to_bytes());
        reason
    }

    /// A switch port refused the P_Key of a packet: trap 259.
    pub(crate) fn refuse_partition(
        &mut self,
        now: Instant,
        at: usize,
        reason: Drop,
        flight: &Flight,
    ) -> Step {
        let packet = &flight.packet;
        let end = self.end_of(at);
        let (gid1, gid2) = gids(packet);
        let details = SwitchBadPKeyDetails {
            valid: if packet.grh.is_some() { 0xf800 } else { 0xf000 },
            lid1: packet.lrh.slid,
            lid2: packet.lrh.dlid,
            pkey: packet.bth.pkey,
            sl: packet.lrh.sl,
            qp1: packet.deth.src_qp,
            qp2: packet.bth.dest_qp,
            gid1,
            gid2,
            switch_lid: self.ports[self.ends[end].port].info.lid,
            port: self.ports[at].num,
        };
        if self.ports[at].num != PortNum::MANAGEMENT {
            self.raise(now, end, TrapNumber::SWITCH_BAD_P_KEY, NoticeType::SECURITY, details.to_bytes());
        }
        self.drop_at(at, reason, flight)
    }

    /// It happened again while the first notice of it was not yet repressed.
    pub(crate) fn raise_again(&mut self, now: Instant, end: usize, notice: Notice) {
        if self.ends[end].traps.raise(now, notice, &self.config) {
            self.send_due_traps(now, end);
        }
    }

    /// Sends the traps whose time has come, and comes back when the next one's has.
    pub(crate) fn send_due_traps(&mut self, now: Instant, end: usize) {
        if self.ports[self.ends[end].port].info.master_sm_lid.is_unicast() {
            for (tid, notice) in self.ends[end].traps.due(now, &self.config) {
                self.send_trap(end, tid, &notice);
            }
        } else {
            self.ends[end].traps.clear();
        }
        if let Some(at) = self.ends[end].traps.arm() {
            self.agenda.put(at, Later::Traps { end });
        }
    }

    fn raise_capability(&mut self, now: Instant, end: usize, changes: u16) {
        let info = &self.ports[self.ends[end].port].info;
        let details = CapabilityDetails {
            lid: info.lid,
            other_changes: changes != 0,
            capability_mask: info.capability_mask,
            changes,
            capability_mask2: info.capability_mask2,
        };
        self.raise(now, end, TrapNumber::CAPABILITY_CHANGE, NoticeType::INFORMATIONAL, details.to_bytes());
    }

    /// Sends a notice now and until it is repressed. Without a LID, or without an SM that wants to know, there is
    /// nobody to tell.
    fn raise(&mut self, now: Instant, end: usize, trap: TrapNumber, kind: NoticeType, details: [u8; 54]) {
        let port = &self.ports[self.ends[end].port];
        if !port.info.lid.is_unicast() || !port.info.master_sm_lid.is_unicast() {
            return;
        }
        let producer = self.nodes[port.node].producer();
        let notice = Notice::from_port(trap, kind, producer, port.info.lid, details);
        if self.ends[end].traps.raise(now, notice, &self.config) {
            self.send_due_traps(now, end);
        }
    }
}

fn gids(packet: &Packet) -> (Gid, Gid) {
    packet.grh.map_or((Gid::ZERO, Gid::ZERO), |grh| (grh.sgid, grh.dgid))
}
