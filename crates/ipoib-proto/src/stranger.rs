//! Senders known by LID and queue pair alone: datagrams without a GRH from somebody whose ARP we missed.
//!
//! Their packets are delivered under a provisional Ethernet address while subnet administration is asked
//! which port has the LID.

use alloc::collections::VecDeque;

use ib_wire::{
    addr::{Gid, Guid, HwAddr, Lid, Mac, Qpn, SubnetPrefix},
    ipoib,
    mad::{
        Method,
        attr::PathRecord,
        sa::{RecordId, path_mask},
    },
    time::Instant,
};

use crate::{
    broadcast::Local,
    context::Context,
    path::NO_PATH,
    sa::{Answer, Question, SaClient, Subject},
};

/// Those asked for.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    asked: VecDeque<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    lid: Lid,
    qpn: Qpn,
    again: Instant,
}

impl Strangers {
    /// A datagram came from `qpn` at `lid`: asks who that is, unless that was just asked, or an answer under way
    /// may tell: then the next datagram asks.
    pub(crate) fn meet(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, lid: Lid, qpn: Qpn) {
        if sa.asks_for_paths() {
            return;
        }
        if let Some(known) = self.asked.iter_mut().find(|s| (s.lid, s.qpn) == (lid, qpn)) {
            if known.again > cx.now {
                return;
            }
            known.again = cx.now + cx.config.max_path_backoff;
        } else {
            if self.asked.len() == MAX_STRANGERS {
                // Those already asked for come first; a crowd of strangers makes no crowd of questions.
                if self.asked.front().is_some_and(|oldest| oldest.again > cx.now) {
                    return;
                }
                self.asked.pop_front();
            }
            self.asked.push_back(Stranger { lid, qpn, again: cx.now + cx.config.max_path_backoff });
        }
        cx.counters.path_queries += 1;
        let record = PathRecord { dlid: lid, sgid: local.gid, numb_path: 1, pkey: local.pkey, ..NO_PATH };
        let mask = path_mask::DLID | path_mask::SGID | path_mask::NUMB_PATH | path_mask::P_KEY;
        let question = Question::new(Method::GET, RecordId::PATH, mask, &record.to_bytes());
        sa.ask(cx, Subject::Source(lid), &question);
    }

    /// Subnet administration said who is at `lid`: gives the addresses of those who sent from there.
    pub(crate) fn handle_answer(&mut self, lid: Lid, answer: &Answer) -> alloc::vec::Vec<HwAddr> {
        let record = answer.as_ref().ok().and_then(|data| PathRecord::parse(&data[..]).ok());
        let Some((record, _)) = record.filter(|(r, _)| !r.dgid.is_multicast() && r.dgid != Gid::ZERO) else {
            return alloc::vec::Vec::new();
        };
        let found = self.asked.iter().filter(|s| s.lid == lid).map(|s| HwAddr::new(s.qpn, record.dgid));
        let found = found.collect();
        self.asked.retain(|s| s.lid != lid);
        found
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.asked.clear();
    }
}

/// The Ethernet address of a sender of whom no GID is known.
pub(crate) fn provisional_mac(lid: Lid, qpn: Qpn) -> Mac {
    ipoib::peer_mac(Gid::new(SubnetPrefix(0), Guid(u64::from(lid.0))), qpn, 0)
}

/// Strangers asked for at one time.
const MAX_STRANGERS: usize = 64;
