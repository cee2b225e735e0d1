//! What changes of the port do: three levels of flush, and what starts and stops with them.
//! `linux drivers/infiniband/ulp/ipoib/ipoib_ib.c`, and what it loses that need not be lost.

use ib_wire::{
    mad::{
        Method,
        attr::{ClassPortInfo, JoinState, PortState},
        sa::RecordId,
    },
    ud::{MadAddress, PortEvent, PortView, QpCommand},
};

use crate::{
    CarrierReason, Event, FlushLevel, Interface, Output,
    broadcast::Local,
    multicast::{Leave, Source},
    sa::{Answer, Question, Subject},
    timer::Timer,
};

impl Interface {
    /// The port changed to `view`.
    pub(crate) fn port_changed(&mut self, event: PortEvent, view: &PortView) {
        let (address, pkey) = (self.local.hw_addr(), self.pkey);
        self.port.clone_from(view);
        self.local = Local::new(&self.cx.config, view);
        self.pkey = view.pkey_for(self.cx.config.pkey);
        self.find_sa();
        match event {
            PortEvent::Active | PortEvent::Down | PortEvent::LidChange => self.flush(FlushLevel::Normal),
            PortEvent::PKeyChange if self.pkey != pkey => self.flush(FlushLevel::Heavy),
            PortEvent::PKeyChange => self.set_keys(),
            PortEvent::ClientReregister | PortEvent::GidChange => self.flush(FlushLevel::Light),
            PortEvent::SmChange => self.register_again(),
        }
        if self.local.hw_addr() != address {
            self.cx.event(Event::AddressChanged { now: self.local.hw_addr() });
            if self.carrier.is_up() {
                self.announcer.start(&mut self.cx);
            }
        }
        self.refresh();
    }

    /// Brings what runs in line with what may run.
    pub(crate) fn refresh(&mut self) {
        let may_run = self.admin && self.port.state == PortState::ACTIVE && self.pkey.is_some();
        if may_run && !self.running {
            self.running = true;
        } else if !may_run && self.running {
            self.stop();
        }
        if self.running && !self.groups.is_started() && self.sa.has_address() {
            self.start();
        }
        self.update_carrier();
    }

    /// Throws away what `level` says.
    fn flush(&mut self, level: FlushLevel) {
        if !self.running {
            return;
        }
        let counters = &mut self.cx.counters;
        match level {
            FlushLevel::Light => counters.flush_light += 1,
            FlushLevel::Normal => counters.flush_normal += 1,
            FlushLevel::Heavy => counters.flush_heavy += 1,
        }
        self.cx.event(Event::Flushed(level));
        match level {
            FlushLevel::Light => {
                self.paths.mark_stale(&mut self.cx);
                self.register_again();
            }
            FlushLevel::Normal => self.stop(),
            FlushLevel::Heavy => {
                self.stop();
                self.cx.emit(Output::Qp(QpCommand::Stop));
            }
        }
        self.update_carrier();
    }

    /// Confirms memberships and subscriptions, with whatever subnet administration there is now. Make before
    /// break: what is held is used meanwhile.
    fn register_again(&mut self) {
        if self.groups.is_started() {
            self.groups.reregister(&mut self.cx);
            let at = self.cx.now + self.cx.chance.up_to(self.cx.config.reregister_spread);
            self.cx.timers.set(Timer::ClassPortInfo, at);
        }
        if self.carrier.is_up() {
            self.subscriptions.start(&mut self.cx);
        }
    }

    fn start(&mut self) {
        self.failure = None;
        self.ask_class_port_info();
        self.groups.start(&mut self.cx, &mut self.sa, &self.local);
        if self.cx.config.snoop_memberships {
            // Nobody reports these two; everybody listens to them.
            for ip in crate::interface::ALL_HOSTS {
                self.listen(ip, Source::Always);
            }
        }
    }

    /// Nothing is under way any more; who the peers are and what the host listens to stays known.
    pub(crate) fn stop(&mut self) {
        let Self { cx, sa, .. } = self;
        let reachable = self.port.state == PortState::ACTIVE;
        let leave = match (reachable, self.admin && self.pkey.is_some()) {
            (false, _) => Leave::Nothing,
            (true, true) => Leave::Abandoned,
            (true, false) => Leave::Everything,
        };
        self.running = false;
        self.link = None;
        sa.cancel_all(cx);
        self.strangers.clear();
        self.overheard.clear();
        self.subscriptions.stop(cx);
        self.announcer.stop(cx);
        cx.timers.cancel(Timer::ClassPortInfo);
        self.groups.flush(cx, sa, &self.local, leave);
        self.paths.flush(cx, sa);
        self.peers.forget_paths();
    }

    /// Tells what the carrier is, if that changed.
    pub(crate) fn update_carrier(&mut self) {
        let reason = self.carrier_reason();
        if reason == self.carrier {
            return;
        }
        let was_up = core::mem::replace(&mut self.carrier, reason).is_up();
        tracing::info!(interface = %self.cx.config.name, on = reason.is_up(), "carrier: {reason}");
        self.cx.emit(Output::Carrier { on: reason.is_up(), reason });
        if reason.is_up() {
            self.subscriptions.start(&mut self.cx);
            self.announcer.start(&mut self.cx);
        } else if was_up {
            self.announcer.stop(&mut self.cx);
        }
    }

    /// Where subnet administration is: with the master SM.
    pub(crate) const fn find_sa(&mut self) {
        let known = self.port.sm_lid.is_unicast();
        let address = MadAddress::gsi(self.port.sm_lid, self.port.sm_sl);
        self.sa.set_address(if known { Some(address) } else { None }, self.port.lmc);
    }

    /// Asks what subnet administration can do.
    pub(crate) fn ask_class_port_info(&mut self) {
        let question = Question::new(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
        self.sa.ask(&mut self.cx, Subject::ClassPortInfo, &question);
    }

    /// What it said. Without an answer: what every subnet administration can do.
    pub(crate) fn class_port_info(&mut self, answer: &Answer) {
        let info = answer.as_ref().ok().and_then(|data| ClassPortInfo::parse(&data[..]).ok());
        let state = match info {
            Some((info, _)) if info.capability_mask2 & SEND_ONLY_FULL_MEMBER != 0 => {
                JoinState::SEND_ONLY_FULL
            }
            Some(_) => JoinState::SEND_ONLY_NON_MEMBER,
            None => {
                self.cx.timers.set(Timer::ClassPortInfo, self.cx.now + self.cx.config.max_join_backoff);
                if self.groups.knows_send_only() {
                    return;
                }
                JoinState::SEND_ONLY_NON_MEMBER
            }
        };
        self.groups.set_send_only(&mut self.cx, &mut self.sa, &self.local, state);
    }

    /// Gives the queue pair its keys, once both are known.
    pub(crate) fn set_keys(&mut self) {
        if let (Some(pkey), Some(link)) = (self.pkey, self.link) {
            self.cx.emit(Output::Qp(QpCommand::SetKeys { pkey, qkey: link.qkey }));
        }
    }

    fn carrier_reason(&self) -> CarrierReason {
        match self.port.state {
            _ if !self.admin => CarrierReason::AdminDown,
            PortState::INITIALIZE => CarrierReason::PortInit,
            PortState::ARMED => CarrierReason::PortArmed,
            PortState::ACTIVE if self.pkey.is_none() => CarrierReason::NoPKey(self.cx.config.pkey),
            PortState::ACTIVE if self.link.is_some() && self.groups.is_joined() => CarrierReason::Up,
            PortState::ACTIVE if !self.sa.has_address() => CarrierReason::NoSm,
            PortState::ACTIVE => self.failure.map_or(CarrierReason::Joining, CarrierReason::JoinFailed),
            _ => CarrierReason::NoLink,
        }
    }
}

/// ClassPortInfo CapabilityMask2 of subnet administration: JoinState 8 is understood. IBA 1 §15.2.1 (1.3 on).
const SEND_ONLY_FULL_MEMBER: u32 = 1 << 12;
