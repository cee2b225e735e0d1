//! A physical port, or port 0 of a switch: its states, what an SM wrote to it, what it counts.
//!
//! IBA 1 §7.2 (logical state), §14.2.5.6 (PortInfo).

use alloc::boxed::Box;
use core::mem::offset_of;

use ib_wire::{
    addr::{
        Lid, LinkSpeed, LinkWidth, Lmc, MKey, Mtu, PKey, PortNum, ServiceLevel, SubnetPrefix, Timeout,
        VirtualLane,
    },
    mad::attr::{CapabilityMask, CapabilityMask2, PhysicalState, PortInfo, PortState, VlArbitrationBlock},
    packet::Opcode,
};

use crate::{
    config::FabricConfig,
    counters::Counters,
    drop::{Drop, Drops},
    lanes::{Lanes, data_lanes},
    pkeys::PKeys,
};

/// Logical state of a port. IBA 1 §7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Logical {
    /// No link.
    Down,
    /// Link; only SMPs pass.
    Initialize,
    /// May receive data, may not send.
    Armed,
    /// Data passes.
    Active,
}

/// What follows from a state that an SM asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Nothing.
    Stay,
    /// The port is now in another state.
    Become(Logical),
    /// The link is taken down and looks for its neighbour anew.
    Retrain,
}

/// An SM asked for a state that cannot be reached from the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalTransition;

impl Logical {
    /// The arrows that an SM may draw. All others belong to the link.
    pub(crate) const fn asked(self, to: PortState) -> Result<Transition, IllegalTransition> {
        match (self, to) {
            (_, PortState::NO_CHANGE)
            | (Self::Armed, PortState::ARMED)
            | (Self::Active, PortState::ACTIVE) => Ok(Transition::Stay),
            (_, PortState::DOWN) => Ok(Transition::Retrain),
            (Self::Initialize, PortState::ARMED) => Ok(Transition::Become(Self::Armed)),
            (Self::Armed, PortState::ACTIVE) => Ok(Transition::Become(Self::Active)),
            _ => Err(IllegalTransition),
        }
    }

    /// As PortInfo has it.
    pub(crate) const fn code(self) -> PortState {
        match self {
            Self::Down => PortState::DOWN,
            Self::Initialize => PortState::INITIALIZE,
            Self::Armed => PortState::ARMED,
            Self::Active => PortState::ACTIVE,
        }
    }
}

/// What the port does with its cable. Training takes no state of its own: the port polls until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Physical {
    /// Looks for a neighbour from time to time only; here: not at all.
    Sleep,
    /// Looks for a neighbour.
    Polling,
    /// Switched off.
    Disabled,
    /// Has found it.
    LinkUp,
}

impl Physical {
    /// As PortInfo has it.
    pub(crate) const fn code(self) -> PhysicalState {
        match self {
            Self::Sleep => PhysicalState::SLEEP,
            Self::Polling => PhysicalState::POLLING,
            Self::Disabled => PhysicalState::DISABLED,
            Self::LinkUp => PhysicalState::LINK_UP,
        }
    }
}

/// The cable at a port, seen from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cable {
    /// Which link.
    pub(crate) link: usize,
    /// The port at its other end.
    pub(crate) peer: usize,
    /// True at the link's end `a`.
    pub(crate) is_a: bool,
}

/// A port. A large fabric has more of them than a cache holds: what every packet asks stands together, in three lines of
/// a cache, so the order of the fields is this one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Port {
    /// What performance management reads.
    pub(crate) counters: Counters,
    /// The cable, if one is plugged in.
    pub(crate) cable: Option<Cable>,
    /// Which switch of the fabric it is of, if it is of one.
    pub(crate) switch: Option<usize>,
    /// Which end port it is, if it is one.
    pub(crate) end: Option<usize>,
    /// Its number at its node.
    pub(crate) num: PortNum,
    /// Logical state.
    pub(crate) state: Logical,
    /// Physical state.
    pub(crate) physical: Physical,
    /// Which node it is of.
    pub(crate) node: usize,
    /// What was dropped here.
    pub(crate) drops: Drops,
    /// Lane arbitration as an SM wrote it. Stored, not obeyed: nothing waits here.
    pub(crate) arbitration: Option<Box<[VlArbitrationBlock; 4]>>,
    /// All of PortInfo that does not follow from the states.
    pub(crate) info: PortInfo,
    /// Partition keys.
    pub(crate) pkeys: PKeys,
    /// Lanes of what leaves a channel adapter or a switch's port 0.
    pub(crate) lanes: Lanes,
    /// The operations that the three attributes of performance management count that count one.
    pub(crate) operations: [Opcode; 3],
}

const _: () =
    assert!(size_of::<Port>() <= 384 && offset_of!(Port, cable) / 64 == offset_of!(Port, physical) / 64);

impl Port {
    /// A port without cable, as it is when power comes.
    pub(crate) fn new(node: usize, num: PortNum, info: PortInfo, partition_cap: u16) -> Self {
        Self {
            node,
            num,
            switch: None,
            end: None,
            cable: None,
            state: Logical::Down,
            physical: Physical::Polling,
            info,
            pkeys: PKeys::new(partition_cap),
            lanes: Lanes::default(),
            arbitration: None,
            counters: Counters::default(),
            operations: [Opcode::UD_SEND_ONLY; 3],
            drops: Drops::default(),
        }
    }

    /// Forgets all that an SM wrote.
    pub(crate) fn reset(&mut self, config: &FabricConfig) {
        let old = self.info;
        self.info = PortInfo {
            capability_mask: old.capability_mask,
            link_width_supported: old.link_width_supported,
            link_width_enabled: old.link_width_supported,
            link_speed_supported: old.link_speed_supported,
            link_speed_enabled: old.link_speed_supported,
            link_speed_ext_supported: old.link_speed_ext_supported,
            link_speed_ext_enabled: old.link_speed_ext_supported,
            mtu_cap: old.mtu_cap,
            neighbor_mtu: old.mtu_cap.min(Mtu::B2048),
            guid_cap: old.guid_cap,
            ..initial_info(config, old.capability_mask)
        };
        self.pkeys = PKeys::new(self.pkeys.cap());
        self.lanes = Lanes::default();
        self.arbitration = None;
    }

    /// PortInfo as an SM reads it.
    pub(crate) const fn port_info(&self, asked_through: PortNum) -> PortInfo {
        PortInfo {
            state: self.state.code(),
            physical_state: self.physical.code(),
            local_port: asked_through,
            ..self.info
        }
    }

    /// Bytes of payload that the neighbour takes.
    pub(crate) fn neighbor_mtu(&self) -> usize {
        self.info.neighbor_mtu.bytes().map_or(0, usize::from)
    }

    /// Bytes of payload that it takes itself.
    pub(crate) fn largest(&self) -> usize {
        self.info.mtu_cap.bytes().map_or(usize::MAX, usize::from)
    }

    /// The cable that packets leave by, if the port is in the state `needed` at least.
    #[inline]
    pub(crate) fn lets_out(&self, needed: Logical) -> Result<Cable, Drop> {
        self.cable.filter(|_| self.state >= needed).ok_or(Drop::PortNotSending)
    }

    /// What it checks of a data packet that leaves.
    #[inline]
    pub(crate) fn admits_out(&self, payload: usize, pkey: PKey) -> Result<(), Drop> {
        if payload > self.neighbor_mtu() {
            return Err(Drop::NeighborMtu);
        }
        if self.info.partition_enforcement_outbound && !self.pkeys.passes(pkey) {
            return Err(Drop::PKeyOutbound);
        }
        Ok(())
    }

    /// What it checks of a data packet that comes in.
    #[inline]
    pub(crate) fn admits_in(&self, vl: VirtualLane, payload: usize, pkey: PKey) -> Result<(), Drop> {
        if vl.get() >= data_lanes(self.info.operational_vls) {
            return Err(Drop::BadLane);
        }
        if payload > self.largest() {
            return Err(Drop::Oversize);
        }
        if self.info.partition_enforcement_inbound && !self.pkeys.passes(pkey) {
            return Err(Drop::PKeyInbound);
        }
        Ok(())
    }

    /// The place of the port `num` of the same node; this one's is `at`.
    #[inline]
    pub(crate) fn sibling(&self, at: usize, num: PortNum) -> usize {
        at - usize::from(self.num.0) + usize::from(num.0)
    }

    /// Counts a drop under its name and in the counters of performance management.
    pub(crate) fn dropped(&mut self, reason: Drop, packets: u32) {
        self.drops.add(reason, packets);
        for counter in reason.counters() {
            self.counters.add(*counter, packets.into());
        }
    }

    /// True if `lid` is one of the port's.
    pub(crate) const fn has_lid(&self, lid: Lid) -> bool {
        self.info.lmc.covers(self.info.lid, lid)
    }

    /// The best that this port and its neighbour are both allowed.
    pub(crate) fn negotiate(&mut self, peer: &PortInfo) {
        let width = self.info.link_width_enabled.0 & peer.link_width_enabled.0;
        let by_lanes = |bit: &LinkWidth| bit.lanes().unwrap_or(0);
        let best = [LinkWidth::X1, LinkWidth::X2, LinkWidth::X4, LinkWidth::X8, LinkWidth::X12]
            .into_iter()
            .filter(|bit| width & bit.0 != 0)
            .max_by_key(by_lanes);
        self.info.link_width_active = best.unwrap_or(LinkWidth::X1);
        let speed = self.info.link_speed_enabled & peer.link_speed_enabled;
        let ext = self.info.link_speed_ext_enabled & peer.link_speed_ext_enabled;
        let common = |s: &LinkSpeed| {
            if s.ext_bit() != 0 { ext & s.ext_bit() != 0 } else { speed & s.speed_bit() != 0 }
        };
        let best = LinkSpeed::ALL.into_iter().rev().find(common).unwrap_or(LinkSpeed::Sdr);
        self.info.link_speed_active = best.speed_bit();
        self.info.link_speed_ext_active = best.ext_bit();
    }

    /// Makes the port capable of a link of this width and speed, and allows it.
    pub(crate) fn fit(&mut self, width: LinkWidth, speed: LinkSpeed, mtu: Mtu) {
        let lanes = width.lanes().unwrap_or(1);
        let up_to = |bit: &LinkWidth| bit.lanes().is_some_and(|l| l <= lanes && (l != 2 || lanes == 2));
        let all = [LinkWidth::X1, LinkWidth::X2, LinkWidth::X4, LinkWidth::X8, LinkWidth::X12];
        let widths = all.into_iter().filter(up_to).fold(0, |mask, bit| mask | bit.0);
        let slower = || LinkSpeed::ALL.into_iter().filter(|s| *s <= speed);
        let info = &mut self.info;
        info.link_width_supported = LinkWidth(widths);
        info.link_width_enabled = LinkWidth(widths);
        info.link_speed_supported = slower().fold(0, |mask, s| mask | s.speed_bit());
        info.link_speed_enabled = info.link_speed_supported;
        info.link_speed_ext_supported = slower().fold(0, |mask, s| mask | s.ext_bit());
        info.link_speed_ext_enabled = info.link_speed_ext_supported;
        info.link_width_active = width;
        info.link_speed_active = speed.speed_bit();
        info.link_speed_ext_active = speed.ext_bit();
        info.mtu_cap = mtu;
        info.neighbor_mtu = mtu.min(Mtu::B2048);
    }
}

/// PortInfo when power comes.
pub(crate) const fn initial_info(config: &FabricConfig, capability_mask: CapabilityMask) -> PortInfo {
    PortInfo {
        m_key: MKey(0),
        gid_prefix: SubnetPrefix::LINK_LOCAL,
        lid: Lid::NONE,
        master_sm_lid: Lid::NONE,
        capability_mask,
        diag_code: 0,
        m_key_lease_period: 0,
        local_port: PortNum(0),
        link_width_enabled: LinkWidth(3),
        link_width_supported: LinkWidth(3),
        link_width_active: LinkWidth::X4,
        link_speed_supported: 7,
        state: PortState::DOWN,
        physical_state: PhysicalState::POLLING,
        down_default_state: 2,
        m_key_protect: 0,
        lmc: Lmc(0),
        link_speed_active: 4,
        link_speed_enabled: 7,
        neighbor_mtu: Mtu::B2048,
        master_sm_sl: ServiceLevel::new(0),
        vl_cap: config.vl_cap,
        init_type: 0,
        vl_high_limit: 0,
        vl_arb_high_cap: 8,
        vl_arb_low_cap: 8,
        init_type_reply: 0,
        mtu_cap: config.mtu_cap,
        vl_stall_count: 7,
        hoq_life: 16,
        operational_vls: config.vl_cap,
        partition_enforcement_inbound: false,
        partition_enforcement_outbound: false,
        filter_raw_inbound: false,
        filter_raw_outbound: false,
        m_key_violations: 0,
        p_key_violations: 0,
        q_key_violations: 0,
        guid_cap: 0,
        client_reregister: false,
        multicast_pkey_trap_suppression: 0,
        subnet_timeout: Timeout(18),
        response_time: Timeout(16),
        local_phy_errors: 8,
        overrun_errors: 8,
        max_credit_hint: 0,
        link_round_trip_latency: 0x00ff_ffff,
        capability_mask2: CAPABILITY_MASK2,
        link_speed_ext_active: 2,
        link_speed_ext_supported: 3,
        link_speed_ext_enabled: 3,
    }
}

/// What every port can do besides.
const CAPABILITY_MASK2: u16 = CapabilityMask2::PORT_INFO_EXTENDED
    | CapabilityMask2::WIDTH_2X
    | CapabilityMask2::HDR
    | CapabilityMask2::NDR;

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};
    use core::fmt::Write;

    use super::*;

    /// Every state and every request, as a picture: what an SM's Set does.
    #[test]
    fn only_the_specified_arrows_exist() {
        let mut picture = String::from("from\\to        0 1 2 3 4 5\n");
        for from in [Logical::Down, Logical::Initialize, Logical::Armed, Logical::Active] {
            write!(picture, "{:<13}", format!("{from:?}")).expect("text");
            for to in 0..=5 {
                let sign = match from.asked(PortState(to)) {
                    Ok(Transition::Stay) => '.',
                    Ok(Transition::Retrain) => 'r',
                    Ok(Transition::Become(Logical::Armed)) => 'A',
                    Ok(Transition::Become(Logical::Active)) => '*',
                    Ok(Transition::Become(_)) => '?',
                    Err(IllegalTransition) => 'x',
                };
                write!(picture, " {sign}").expect("text");
            }
            picture.push('\n');
        }
        assert_eq!(
            picture,
            "from\\to        0 1 2 3 4 5\n\
             Down          . r x x x x\n\
             Initialize    . r x A x x\n\
             Armed         . r x . * x\n\
             Active        . r x x . x\n"
        );
    }

    #[test]
    fn neighbours_agree_on_the_best_both_are_allowed() {
        let config = FabricConfig::default();
        let mut a = Port::new(0, PortNum(1), initial_info(&config, CapabilityMask(0)), 32);
        let mut b = Port::new(1, PortNum(1), initial_info(&config, CapabilityMask(0)), 32);
        a.fit(LinkWidth::X12, LinkSpeed::Hdr, Mtu::B4096);
        b.fit(LinkWidth::X4, LinkSpeed::Edr, Mtu::B4096);
        a.negotiate(&b.info);
        assert_eq!((a.info.link_width_active, a.info.active_speed()), (LinkWidth::X4, LinkSpeed::Edr));
        b.info.link_speed_ext_enabled = 0;
        a.negotiate(&b.info);
        assert_eq!(a.info.active_speed(), LinkSpeed::Qdr);
        assert_eq!(a.info.link_width_supported.0, 1 | 2 | 4 | 8);
    }
}
