//! The settings that every port and switch shall have. The values are OpenSM's.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, Lmc, PKey, PortNum},
    mad::attr::{CapabilityMask, PhysicalState, PortInfo, PortState, SwitchInfo},
};

use super::job::{Job, Work, block_of};
use crate::{
    config::SmConfig,
    partition::{Identity, Partitions},
    subnet::{PortId, Subnet, Switch},
};

/// What is to be written to a switch. The mark of changed ports stays as it is.
pub(crate) fn switch_info(switch: &Switch, config: &SmConfig) -> SwitchInfo {
    SwitchInfo {
        linear_fdb_top: switch.lft.top(),
        life_time: config.switch_life_time,
        port_state_change: false,
        // No limit: one that a manager before us wrote would end groups that it did not have.
        multicast_fdb_top: Lid::NONE,
        ..switch.info
    }
}

/// What is to be written to a port: all settings, and Armed if it waits for that.
pub(crate) fn port_info(subnet: &Subnet, config: &SmConfig, id: PortId) -> Option<PortInfo> {
    let port = subnet.port(id)?;
    let known = port.info?;
    let mut info = PortInfo {
        m_key: config.m_key,
        state: if known.state == PortState::INITIALIZE { PortState::ARMED } else { PortState::NO_CHANGE },
        physical_state: PhysicalState::NO_CHANGE,
        down_default_state: 0,
        client_reregister: false,
        local_phy_errors: ERROR_THRESHOLD,
        overrun_errors: ERROR_THRESHOLD,
        ..known
    };
    let node = subnet.node(id.node);
    let is_end = !node.is_switch() || id.num == PortNum::MANAGEMENT;
    if is_end {
        info.gid_prefix = config.prefix;
        info.lid = port.lid;
        info.lmc = Lmc(0);
        info.master_sm_lid = subnet.own_lid();
        info.master_sm_sl = config.sm_sl;
        info.subnet_timeout = config.subnet_timeout;
        info.client_reregister =
            port.reregister && known.capability_mask.has(CapabilityMask::CLIENT_REREGISTER);
        if id.num == PortNum::MANAGEMENT {
            info.state = PortState::NO_CHANGE;
        }
    }
    if let Some(peer) = port.peer
        && let Some(other) = subnet.port(peer).and_then(|peer| peer.info)
    {
        info.neighbor_mtu = known.mtu_cap.min(other.mtu_cap);
        info.operational_vls = known.vl_cap.min(other.vl_cap).min(config.max_operational_vls);
        if node.is_switch() {
            let faces_switch = subnet.node(peer.node).is_switch();
            info.hoq_life = if faces_switch { config.hoq_life } else { config.leaf_hoq_life };
            info.vl_stall_count = config.vl_stall_count;
            let (inbound, outbound) = enforcement(subnet, config, id);
            info.partition_enforcement_inbound = inbound;
            info.partition_enforcement_outbound = outbound;
        }
    }
    Some(info)
}

/// Looks at every present node and orders what it takes to make it as wanted, but for multicast tables, which are
/// written at any time.
pub(crate) fn order_writes(subnet: &Subnet, config: &SmConfig, work: &mut Work) {
    for (id, node) in subnet.switches() {
        let Some(switch) = &node.switch else { continue };
        if switch_info(switch, config) != (SwitchInfo { port_state_change: false, ..switch.info }) {
            work.push(Job::WriteSwitch(id));
        }
        switch.lft.changed().for_each(|block| work.push(Job::WriteLinear(id, block)));
        switch
            .mft
            .changed()
            .for_each(|(block, position)| work.push(Job::WriteMulticast(id, block, position)));
    }
    for (id, node) in subnet.nodes() {
        for (num, port) in (0..=254).map(PortNum).zip(&node.ports) {
            let id = PortId { node: id, num };
            let blocks = port.pkeys.len().max(port.wanted_pkeys.len()).div_ceil(32);
            for block in (0..).take(if port.wanted_pkeys.is_empty() { 0 } else { blocks }) {
                if block_of(&port.pkeys, block) != block_of(&port.wanted_pkeys, block) {
                    work.push(Job::WritePKeys(id, block));
                }
            }
            let (Some(known), Some(wanted)) = (port.info, port_info(subnet, config, id)) else { continue };
            let is_end =
                if node.is_switch() { num == PortNum::MANAGEMENT } else { Some(id) == subnet.own_port() };
            if (is_end || (port.has_link() && port.peer.is_some())) && differ(&known, &wanted) {
                work.push(Job::WritePort(id));
            }
        }
    }
}

/// Orders that data pass wherever both ends are Armed or better.
pub(crate) fn order_activation(subnet: &Subnet, work: &mut Work) {
    for (id, node) in subnet.nodes() {
        for (num, port) in node.physical_ports() {
            if port.state() == PortState::ARMED && port.peer.is_some() {
                work.push(Job::Activate(PortId { node: id, num }));
            }
        }
    }
}

/// Gives every end port the P_Keys of its partitions, and the switch ports that check packets those of the end
/// port they face. A key that a table has already stays in its slot.
pub(crate) fn assign_pkeys(subnet: &mut Subnet, config: &SmConfig, partitions: &Partitions) {
    let own = subnet.own_port();
    let ends: Vec<PortId> = subnet.end_ports().map(|(id, _)| id).collect();
    for id in ends {
        let node_type = subnet.node(id.node).info.node_type;
        let Some(port) = subnet.port(id) else { continue };
        let identity = Identity { guid: port.guid, node_type, is_own: Some(id) == own };
        let keys = partitions.pkeys(identity);
        let placed = placed(&port.pkeys, &keys);
        let guard =
            port.peer.filter(|peer| id.num != PortNum::MANAGEMENT && subnet.node(peer.node).is_switch());
        if let Some(port) = subnet.port_mut(id) {
            port.wanted_pkeys = placed;
        }
        if let Some(guard) = guard {
            let checks = enforcement(subnet, config, guard) != (false, false);
            if let Some(port) = subnet.port_mut(guard) {
                port.wanted_pkeys = if checks { self::placed(&port.pkeys, &keys) } else { Vec::new() };
            }
        }
    }
}

/// The keys in a table: the first one in slot 0, those that are there already where they are, the others in free
/// slots. A key and its limited form are the same key with another membership, unless both are wanted.
fn placed(current: &[PKey], keys: &[PKey]) -> Vec<PKey> {
    let mut table: Vec<PKey> = current.iter().map(|_| PKey::INVALID).collect();
    let Some((first, rest)) = keys.split_first() else { return table };
    table.resize(table.len().max(1), PKey::INVALID);
    table[0] = *first;
    let mut waiting = Vec::new();
    for key in rest {
        let exact = current.iter().position(|held| held == key);
        let same = || current.iter().position(|held| held.partition() == key.partition());
        match exact.or_else(same).filter(|slot| !table[*slot].is_valid()) {
            Some(slot) => table[slot] = *key,
            None => waiting.push(*key),
        }
    }
    for key in waiting {
        match table.iter().position(|slot| !slot.is_valid()) {
            Some(free) => table[free] = key,
            None => table.push(key),
        }
    }
    while table.last().is_some_and(|key| !key.is_valid()) {
        table.pop();
    }
    table
}

/// Whether a switch port that faces an end node checks P_Keys, coming in and going out.
fn enforcement(subnet: &Subnet, config: &SmConfig, id: PortId) -> (bool, bool) {
    let faces_end =
        subnet.port(id).and_then(|port| port.peer).is_some_and(|peer| !subnet.node(peer.node).is_switch());
    match &subnet.node(id.node).switch {
        Some(switch)
            if config.enforce_partitions && faces_end && switch.info.partition_enforcement_cap > 0 =>
        {
            (switch.info.inbound_enforcement_cap, switch.info.outbound_enforcement_cap)
        }
        _ => (false, false),
    }
}

/// True if a port is not as wanted, in anything that a Set can change.
fn differ(known: &PortInfo, wanted: &PortInfo) -> bool {
    let settings = |info: &PortInfo| PortInfo {
        state: PortState::NO_CHANGE,
        physical_state: PhysicalState::NO_CHANGE,
        down_default_state: 0,
        m_key: wanted.m_key,
        ..*info
    };
    wanted.state != PortState::NO_CHANGE || settings(known) != settings(wanted)
}

/// Errors of the link after which the port reports them.
const ERROR_THRESHOLD: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::{LinearTable, MulticastTable};
    use alloc::vec;

    const A: PKey = PKey(0x8001);
    const B: PKey = PKey(0x8002);
    const C: PKey = PKey(0x8003);

    #[test]
    fn what_another_manager_left_in_a_switch_ends_no_group() {
        let found =
            SwitchInfo { multicast_fdb_top: Lid(0xbfff), ..SwitchInfo::from_bytes(&[0; SwitchInfo::LEN]) };
        let switch = Switch { info: found, lft: LinearTable::new(), mft: MulticastTable::new(4) };
        let wanted = switch_info(&switch, &SmConfig::default());
        assert_eq!(wanted.multicast_fdb_top, Lid::NONE);
        assert_eq!(wanted.life_time, SmConfig::default().switch_life_time);
    }

    #[test]
    fn keys_keep_their_slots() {
        let none = PKey::INVALID;
        assert_eq!(placed(&[], &[PKey::DEFAULT_FULL, A]), [PKey::DEFAULT_FULL, A]);
        assert_eq!(
            placed(&[PKey::DEFAULT_FULL, A, none, B], &[PKey::DEFAULT_FULL, B, C]),
            [PKey::DEFAULT_FULL, C, none, B]
        );
        assert_eq!(
            placed(&[PKey::DEFAULT_FULL, A, B], &[PKey::DEFAULT_FULL, A.limited()]),
            [PKey::DEFAULT_FULL, A.limited()]
        );
        assert_eq!(placed(&[A, PKey::DEFAULT_FULL], &[PKey::DEFAULT_FULL, A]), [PKey::DEFAULT_FULL, A]);
        assert_eq!(placed(&[A], &[]), vec![PKey::INVALID]);
    }

    #[test]
    fn both_forms_of_a_key_stand_side_by_side() {
        assert_eq!(placed(&[A], &[A, A.limited()]), [A, A.limited()]);
        assert_eq!(placed(&[A, A.limited()], &[A, A.limited()]), [A, A.limited()]);
    }
}
