//! Get and Set of PortInfo: what may be written, and what follows from it. IBA 1 §14.2.5.6.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, LinkWidth, MKey, PortNum},
    mad::{
        Status,
        attr::{PhysicalState, PortInfo},
    },
    ud::PortEvent,
};

use super::{Data, Device, Effect, KeyCheck};
use crate::port::{Logical, Physical, Port, Transition};

impl Device<'_> {
    pub(super) fn get_port_info(&self, modifier: u32, key: KeyCheck) -> Result<Data, Status> {
        let port = &self.ports[self.port_info_port(modifier)?];
        let mut info = port.port_info(self.ports[self.ingress].num);
        if key == (KeyCheck::ReadOnly { shown: false }) {
            info.m_key = MKey(0);
        }
        Ok(info.to_bytes())
    }

    pub(super) fn set_port_info(
        &mut self,
        modifier: u32,
        data: &Data,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Status> {
        let asked = PortInfo::from_bytes(data);
        let index = self.port_info_port(modifier)?;
        if self.switch.is_none() && index != self.own_port() {
            return Err(Status::BAD_FIELD);
        }
        let port = &mut self.ports[index];
        let transition = transition(port, &asked)?;
        let physical = physical(port, &asked)?;
        let mut info = port.info;
        write_link(&mut info, &asked, port.num)?;
        let is_end = port.end.is_some();
        if is_end {
            write_end(&mut info, &asked)?;
            let end = self.end;
            events(&port.info, &info, asked.client_reregister, |event| {
                effects.push(Effect::Event { end, event });
            });
        } else {
            info.partition_enforcement_inbound = asked.partition_enforcement_inbound;
            info.partition_enforcement_outbound = asked.partition_enforcement_outbound;
            info.filter_raw_inbound = asked.filter_raw_inbound;
            info.filter_raw_outbound = asked.filter_raw_outbound;
        }
        port.info = info;
        match (physical, transition) {
            (Some(to), _) => effects.push(Effect::Physical { port: index, to }),
            (None, Transition::Retrain) => effects.push(Effect::Retrain { port: index }),
            (None, Transition::Become(state)) => {
                port.state = state;
                if state == Logical::Active && is_end {
                    effects.push(Effect::Event { end: self.end, event: PortEvent::Active });
                }
            }
            (None, Transition::Stay) => {}
        }
        Ok(())
    }

    /// The port a modifier means, among `ports`: of a channel adapter 0 is the port asked through. The top bit
    /// says that the SM knows extended speeds.
    pub(super) fn port_info_port(&self, modifier: u32) -> Result<usize, Status> {
        let num = u8::try_from(modifier & 0x7fff_ffff).map_err(|_| Status::BAD_FIELD)?;
        if num == 0 && self.switch.is_none() { Ok(self.own_port()) } else { self.numbered(num) }
    }
}

/// The change of logical state that is asked for. Port 0 of a switch has no link: it is always Active.
fn transition(port: &Port, asked: &PortInfo) -> Result<Transition, Status> {
    if port.num == PortNum::MANAGEMENT {
        return Ok(Transition::Stay);
    }
    port.state.asked(asked.state).map_err(|_| Status::BAD_FIELD)
}

/// The change of physical state that is asked for.
fn physical(port: &Port, asked: &PortInfo) -> Result<Option<Physical>, Status> {
    match asked.physical_state {
        PhysicalState::NO_CHANGE => Ok(None),
        _ if port.num == PortNum::MANAGEMENT => Ok(None),
        PhysicalState::SLEEP => Ok(Some(Physical::Sleep)),
        PhysicalState::POLLING => Ok(Some(Physical::Polling)),
        PhysicalState::DISABLED => Ok(Some(Physical::Disabled)),
        _ => Err(Status::BAD_FIELD),
    }
}

/// Fields that every port has.
fn write_link(info: &mut PortInfo, asked: &PortInfo, num: PortNum) -> Result<(), Status> {
    let bad = Err(Status::BAD_FIELD);
    let mtu_fits = asked.neighbor_mtu.bytes().is_some() && asked.neighbor_mtu <= info.mtu_cap;
    if mtu_fits {
        info.neighbor_mtu = asked.neighbor_mtu;
    } else if num != PortNum::MANAGEMENT {
        return bad;
    }
    match asked.operational_vls {
        0 => {}
        vls if vls <= info.vl_cap => info.operational_vls = vls,
        _ => return bad,
    }
    match asked.down_default_state {
        0 => {}
        state @ (1 | 2) => info.down_default_state = state,
        _ => return bad,
    }
    let width =
        enabled(asked.link_width_enabled.0, info.link_width_enabled.0, info.link_width_supported.0, 0xff);
    let speed = enabled(asked.link_speed_enabled, info.link_speed_enabled, info.link_speed_supported, 0xf);
    let ext = match asked.link_speed_ext_enabled {
        30 => Some(0),
        ext => enabled(ext, info.link_speed_ext_enabled, info.link_speed_ext_supported, 31),
    };
    let (Some(width), Some(speed), Some(ext)) = (width, speed, ext) else { return bad };
    info.link_width_enabled = LinkWidth(width);
    info.link_speed_enabled = speed;
    info.link_speed_ext_enabled = ext;
    info.vl_high_limit = asked.vl_high_limit;
    info.vl_stall_count = asked.vl_stall_count;
    info.hoq_life = asked.hoq_life;
    info.local_phy_errors = asked.local_phy_errors;
    info.overrun_errors = asked.overrun_errors;
    Ok(())
}

/// A set of widths or speeds to allow: 0 leaves it as it is, all ones allow what is possible; `None` if it asks
/// for more than that.
fn enabled(asked: u8, now: u8, supported: u8, all: u8) -> Option<u8> {
    match asked {
        0 => Some(now),
        asked if asked == all => Some(supported),
        asked => (asked & !supported == 0).then_some(asked),
    }
}

/// Fields that end ports have.
fn write_end(info: &mut PortInfo, asked: &PortInfo) -> Result<(), Status> {
    let fits = |asked: Lid, now: Lid| asked.is_unicast() || asked == now;
    if !fits(asked.lid, info.lid) || !fits(asked.master_sm_lid, info.master_sm_lid) {
        return Err(Status::BAD_FIELD);
    }
    info.m_key = asked.m_key;
    info.m_key_protect = asked.m_key_protect;
    info.m_key_lease_period = asked.m_key_lease_period;
    info.gid_prefix = asked.gid_prefix;
    info.lid = asked.lid;
    info.lmc = asked.lmc;
    info.master_sm_lid = asked.master_sm_lid;
    info.master_sm_sl = asked.master_sm_sl;
    info.init_type_reply = asked.init_type_reply;
    info.subnet_timeout = asked.subnet_timeout;
    info.multicast_pkey_trap_suppression = asked.multicast_pkey_trap_suppression;
    for (count, asked) in [
        (&mut info.m_key_violations, asked.m_key_violations),
        (&mut info.p_key_violations, asked.p_key_violations),
        (&mut info.q_key_violations, asked.q_key_violations),
    ] {
        if asked == 0 {
            *count = 0;
        }
    }
    Ok(())
}

/// What software is to be told.
fn events(old: &PortInfo, new: &PortInfo, reregister: bool, mut tell: impl FnMut(PortEvent)) {
    let changed = [
        ((old.lid, old.lmc) != (new.lid, new.lmc), PortEvent::LidChange),
        (old.gid_prefix != new.gid_prefix, PortEvent::GidChange),
        ((old.master_sm_lid, old.master_sm_sl) != (new.master_sm_lid, new.master_sm_sl), PortEvent::SmChange),
        (reregister, PortEvent::ClientReregister),
    ];
    changed.into_iter().filter(|(changed, _)| *changed).for_each(|(_, event)| tell(event));
}
