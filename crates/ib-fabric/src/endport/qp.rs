//! The UD queue pairs of a port and the groups they are attached to. IBA 1 §10.3, §10.5.

use alloc::vec::Vec;
use core::ops::Range;

use ib_wire::{
    addr::{Guid, MulticastGid, MulticastLid, PKey, Psn, QKey, Qpn},
    ud::QpCommand,
};

use crate::{
    error::{CreateQpError, QpError},
    pkeys::PKeys,
};

/// State of a queue pair. What the specification puts between these two is not seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QpState {
    /// Takes and sends nothing: just created, or stopped.
    Reset,
    /// Takes and sends.
    ReadyToSend,
}

/// A UD queue pair.
#[derive(Clone, Debug)]
pub(crate) struct QueuePair {
    /// Its number.
    pub(crate) qpn: Qpn,
    /// Its state.
    pub(crate) state: QpState,
    /// Its key's place in the port's table.
    pkey_index: usize,
    /// What stands there now.
    pub(crate) pkey: PKey,
    /// Key that datagrams to it must carry.
    pub(crate) qkey: QKey,
    /// Sequence number of the next datagram.
    psn: Psn,
    /// Datagrams sent, a large send as one.
    pub(crate) sent: u64,
    /// Datagrams received, a large one as one.
    pub(crate) received: u64,
}

impl QueuePair {
    /// Counts a datagram sent as so many `packets`; the sequence number of the first.
    pub(crate) const fn take_psn(&mut self, packets: u32) -> Psn {
        self.sent += 1;
        let psn = self.psn;
        self.psn = psn.plus(packets);
        psn
    }
}

type Attachment = (MulticastGid, MulticastLid, Qpn);

/// The queue pairs of one port.
#[derive(Debug)]
pub(crate) struct QueuePairs {
    /// By number.
    qps: Vec<QueuePair>,
    /// Sorted: those of one group stand together.
    attached: Vec<Attachment>,
    next: u32,
}

/// Lowest number given out.
const FIRST: u32 = 0x400;

impl QueuePairs {
    /// None yet. Numbers start at a place that follows from the port's GUID, so that two ports seldom have the
    /// same ones, as is the case with real adapters.
    pub(crate) fn new(guid: Guid) -> Self {
        let mixed = guid.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        let next = FIRST + u32::try_from(mixed).expect("12 bits are left");
        Self { qps: Vec::new(), attached: Vec::new(), next }
    }

    /// Creates a queue pair with this number, or with the next free one.
    pub(crate) fn create(&mut self, want: Option<Qpn>) -> Result<Qpn, CreateQpError> {
        let qpn = match want {
            Some(Qpn::SMI | Qpn::GSI | Qpn::MULTICAST) => {
                return Err(CreateQpError::Reserved(want.unwrap_or_default()));
            }
            Some(qpn) => qpn,
            None => self.next_free(),
        };
        match self.find(qpn) {
            Ok(_) => Err(CreateQpError::InUse(qpn)),
            Err(place) => {
                let qp = QueuePair {
                    qpn,
                    state: QpState::Reset,
                    pkey_index: 0,
                    pkey: PKey::INVALID,
                    qkey: QKey(0),
                    psn: Psn::new(0),
                    sent: 0,
                    received: 0,
                };
                self.qps.insert(place, qp);
                Ok(qpn)
            }
        }
    }

    /// Removes a queue pair and its attachments; no matter if there is none.
    pub(crate) fn destroy(&mut self, qpn: Qpn) {
        self.qps.retain(|qp| qp.qpn != qpn);
        self.attached.retain(|(.., attached)| *attached != qpn);
    }

    /// Does what the driver asks.
    pub(crate) fn command(&mut self, qpn: Qpn, command: QpCommand, pkeys: &PKeys) -> Result<(), QpError> {
        let qp = self.get_mut(qpn).ok_or(QpError::NoQp(qpn))?;
        let group = |mgid, mlid: ib_wire::addr::Lid| {
            mlid.multicast().map(|mlid| (mgid, mlid, qpn)).ok_or(QpError::NotMulticast(mlid))
        };
        match command {
            QpCommand::SetKeys { pkey, qkey } => {
                qp.pkey_index = pkeys.find(pkey).ok_or(QpError::NoPKey(pkey))?;
                qp.pkey = pkeys.get(qp.pkey_index);
                qp.qkey = qkey;
                qp.state = QpState::ReadyToSend;
            }
            QpCommand::Stop => qp.state = QpState::Reset,
            QpCommand::Attach { mgid, mlid } => {
                let attachment = group(mgid, mlid)?;
                if let Err(place) = self.attached.binary_search(&attachment) {
                    self.attached.insert(place, attachment);
                }
            }
            QpCommand::Detach { mgid, mlid } => {
                let place = self.attached.binary_search(&group(mgid, mlid)?);
                self.attached.remove(place.map_err(|_| QpError::NotAttached)?);
            }
        }
        Ok(())
    }

    /// The port's table changed: a queue pair has a place in it, not a key.
    pub(crate) fn refresh(&mut self, pkeys: &PKeys) {
        for qp in self.qps.iter_mut().filter(|qp| qp.state == QpState::ReadyToSend) {
            qp.pkey = pkeys.get(qp.pkey_index);
        }
    }

    /// The queue pair of this number.
    pub(crate) fn get_mut(&mut self, qpn: Qpn) -> Option<&mut QueuePair> {
        let place = self.find(qpn).ok()?;
        self.qps.get_mut(place)
    }

    /// Those attached to a group, as places for `attached_qp`.
    pub(crate) fn attached(&self, mgid: MulticastGid, mlid: MulticastLid) -> Range<usize> {
        let from = self.attached.partition_point(|(g, l, _)| (*g, *l) < (mgid, mlid));
        let to = self.attached[from..].partition_point(|(g, l, _)| (*g, *l) == (mgid, mlid));
        from..from + to
    }

    /// The queue pair at one of those places.
    pub(crate) fn attached_qp(&mut self, place: usize) -> Option<&mut QueuePair> {
        let (.., qpn) = *self.attached.get(place)?;
        self.get_mut(qpn)
    }

    /// The queue pair attached to a group, and its place for `received_at`, if there is exactly one.
    pub(crate) fn only_one(&self, mgid: MulticastGid, mlid: MulticastLid) -> Option<(usize, &QueuePair)> {
        let attached = self.attached(mgid, mlid);
        let (.., qpn) = *self.attached.get(attached.start).filter(|_| attached.len() == 1)?;
        let place = self.find(qpn).ok()?;
        Some((place, &self.qps[place]))
    }

    /// Counts datagrams for the queue pair at a place.
    #[inline]
    pub(crate) fn received_at(&mut self, place: usize, datagrams: u64) {
        self.qps[place].received += datagrams;
    }

    /// All, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuePair> {
        self.qps.iter()
    }

    /// The groups a queue pair is attached to.
    pub(crate) fn groups(&self, qpn: Qpn) -> impl Iterator<Item = (MulticastGid, MulticastLid)> {
        self.attached.iter().filter(move |(.., attached)| *attached == qpn).map(|(g, l, _)| (*g, *l))
    }

    fn find(&self, qpn: Qpn) -> Result<usize, usize> {
        self.qps.binary_search_by_key(&qpn, |qp| qp.qpn)
    }

    /// Counts on, so that a number comes back as late as possible.
    fn next_free(&mut self) -> Qpn {
        loop {
            let qpn = Qpn::new(self.next);
            self.next = if self.next + 1 >= Qpn::MULTICAST.get() { FIRST } else { self.next + 1 };
            if self.find(qpn).is_err() {
                return qpn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::addr::{Gid, Lid};

    use super::*;

    #[test]
    fn wanted_numbers_are_given_if_free_and_others_counted_on() {
        let mut qps = QueuePairs::new(Guid(0x0002_c903_000e_8a11));
        let first = qps.create(None).expect("free");
        assert!(first.get() >= FIRST);
        assert_eq!(qps.create(Some(first)), Err(CreateQpError::InUse(first)));
        assert_eq!(qps.create(Some(Qpn::GSI)), Err(CreateQpError::Reserved(Qpn::GSI)));
        let next = Qpn::new(first.get() + 1);
        assert_eq!(qps.create(Some(next)), Ok(next));
        assert_eq!(qps.create(None), Ok(Qpn::new(first.get() + 2)));
        qps.destroy(first);
        assert_eq!(qps.create(None), Ok(Qpn::new(first.get() + 3)), "numbers come back late");
        assert_eq!(qps.create(Some(first)), Ok(first));
    }

    #[test]
    fn groups_with_one_lid_are_kept_apart() {
        let pkeys = PKeys::new(32);
        let mut qps = QueuePairs::new(Guid(1));
        let [a, b] = [(); 2].map(|()| qps.create(None).expect("free"));
        let group = |n| MulticastGid::try_from(Gid([0xff, 0x12, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        let [g, h] = [1, 2].map(|n| group(n).expect("multicast"));
        let mlid = Lid(0xc001);
        for (qpn, mgid) in [(a, g), (b, g), (b, h), (b, h)] {
            qps.command(qpn, QpCommand::Attach { mgid, mlid }, &pkeys).expect("attached");
        }
        let mlid = mlid.multicast().expect("multicast");
        assert_eq!(qps.attached(g, mlid).len(), 2);
        assert_eq!(qps.attached(h, mlid).len(), 1);
        qps.destroy(b);
        assert_eq!((qps.attached(g, mlid).len(), qps.attached(h, mlid).len()), (1, 0));
        let detach = QpCommand::Detach { mgid: h, mlid: mlid.into() };
        assert_eq!(qps.command(a, detach, &pkeys), Err(QpError::NotAttached));
    }
}
