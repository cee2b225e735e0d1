//! Subnet administration as far as an interface asks it.

use std::collections::BTreeMap;

use ib_wire::{
    addr::{Gid, Lid, Mtu, QKey, Rate, Tid},
    mad::{
        AttributeId, Mad, MadHeader, Method, MgmtClass, Status,
        attr::{ClassPortInfo, InformInfo, JoinState, McMemberRecord, Notice, PathRecord, TrapNumber},
        sa::{RecordId, RmppHeader, SaMad, mc_member_mask},
    },
};

/// What it knows, and how it behaves.
pub(crate) struct Sa {
    /// Does not answer.
    pub(crate) mute: bool,
    /// Answers joins and paths so.
    pub(crate) refuse: Option<Status>,
    /// Says "busy" so many times more.
    pub(crate) busy: u32,
    /// Knows JoinState 8.
    pub(crate) send_only_full: bool,
    /// Ports.
    pub(crate) paths: BTreeMap<Gid, Lid>,
    /// Hop limit of every path.
    pub(crate) hop_limit: u8,
    /// Groups with the JoinState bits of the one member that asks.
    pub(crate) groups: BTreeMap<Gid, (McMemberRecord, JoinState)>,
    /// Everything asked.
    pub(crate) asked: Vec<SaMad>,
    /// Subscriptions.
    pub(crate) subscribed: Vec<TrapNumber>,
    next_mlid: u16,
}

impl Sa {
    pub(crate) fn new() -> Self {
        Self {
            mute: false,
            refuse: None,
            busy: 0,
            send_only_full: true,
            paths: BTreeMap::new(),
            hop_limit: 0,
            groups: BTreeMap::new(),
            asked: Vec::new(),
            subscribed: Vec::new(),
            next_mlid: 0xc000,
        }
    }

    /// Makes a group with OpenSM's parameters.
    pub(crate) fn create(&mut self, mgid: Gid) {
        let mut record = McMemberRecord::from_bytes(&[0; 52]);
        record.mgid = mgid;
        record.qkey = QKey(0x0b1b);
        (record.mtu_selector, record.mtu) = (2, Mtu::B2048);
        (record.rate_selector, record.rate) = (2, Rate::GBPS_10);
        record.mlid = Lid(self.next_mlid);
        self.next_mlid += 1;
        self.groups.insert(mgid, (record, JoinState::default()));
    }

    /// How often a record was asked for by a method.
    pub(crate) fn count(&self, method: Method, record: RecordId) -> usize {
        self.asked.iter().filter(|m| m.header.method == method && m.header.attribute.0 == record.0).count()
    }

    /// Path questions for a port.
    pub(crate) fn path_questions(&self, gid: Gid) -> usize {
        let path = |m: &&SaMad| m.header.attribute.0 == RecordId::PATH.0;
        let records = self.asked.iter().filter(path).map(|m| PathRecord::parse(&m.data).unwrap().0);
        records.filter(|r| r.dgid == gid).count()
    }

    /// The joins and leaves so far: method, group, bits, mask.
    pub(crate) fn memberships(&self) -> Vec<(Method, Gid, u8, u64)> {
        let members = self.asked.iter().filter(|m| m.header.attribute.0 == RecordId::MC_MEMBER.0);
        let read = |m: &SaMad| {
            let record = McMemberRecord::parse(&m.data).unwrap().0;
            (m.header.method, record.mgid, record.join_state.0, m.component_mask)
        };
        members.map(read).collect()
    }

    /// The answer to `mad`, if there is one.
    pub(crate) fn answer(&mut self, mad: &Mad) -> Option<Mad> {
        let question = SaMad::from_bytes(mad);
        if question.header.method == Method::REPORT_RESP {
            return None;
        }
        self.asked.push(question);
        if self.mute {
            return None;
        }
        let mut answer = question;
        answer.header.method = Method(question.header.method.0 | Method::RESPONSE_BIT);
        if question.header.method == Method::SET {
            answer.header.method = Method::GET_RESP;
        }
        answer.header.status = if self.busy > 0 {
            self.busy -= 1;
            Status::BUSY
        } else {
            match RecordId(question.header.attribute.0) {
                RecordId::PATH => self.path(&mut answer),
                RecordId::MC_MEMBER => self.member(&mut answer, question.header.method),
                RecordId::INFORM_INFO => {
                    self.subscribed.push(InformInfo::parse(&question.data).unwrap().0.trap);
                    Status::OK
                }
                RecordId::CLASS_PORT_INFO => {
                    let mut info = ClassPortInfo::from_bytes(&[0; 72]);
                    info.capability_mask2 = u32::from(self.send_only_full) << 12;
                    answer.data[..72].copy_from_slice(&info.to_bytes());
                    Status::OK
                }
                _ => Status::BAD_METHOD_ATTRIBUTE,
            }
        };
        Some(answer.to_bytes())
    }

    /// A report of an event about `gid`.
    pub(crate) fn report(trap: TrapNumber, gid: Gid) -> Mad {
        let notice = Notice::about_gid(trap, gid, Lid(1), Gid::ZERO);
        let mut header = MadHeader::request(MgmtClass::SUBN_ADM, Method::REPORT, AttributeId::NOTICE, 0);
        header.tid = Tid(0x77);
        let mut data = [0; 200];
        data[..80].copy_from_slice(&notice.to_bytes());
        let mad =
            SaMad { header, rmpp: RmppHeader::NONE, sm_key: 0, attribute_offset: 0, component_mask: 0, data };
        mad.to_bytes()
    }

    fn path(&self, answer: &mut SaMad) -> Status {
        if let Some(status) = self.refuse {
            return status;
        }
        let mut record = PathRecord::parse(&answer.data).unwrap().0;
        if record.dgid == Gid::ZERO {
            let found = self.paths.iter().find(|(_, lid)| **lid == record.dlid);
            record.dgid = found.map_or(Gid::ZERO, |(gid, _)| *gid);
        }
        let Some(lid) = self.paths.get(&record.dgid) else { return Status::SA_NO_RECORDS };
        record.dlid = *lid;
        record.hop_limit = self.hop_limit;
        (record.mtu, record.rate) = (Mtu::B4096, Rate(16));
        answer.data[..64].copy_from_slice(&record.to_bytes());
        Status::OK
    }

    fn member(&mut self, answer: &mut SaMad, method: Method) -> Status {
        if let Some(status) = self.refuse {
            return status;
        }
        let asked = McMemberRecord::parse(&answer.data).unwrap().0;
        let may_create = asked.join_state.keeps_alive() && answer.component_mask & mc_member_mask::Q_KEY != 0;
        if method == Method::SET && may_create && !self.groups.contains_key(&asked.mgid) {
            self.create(asked.mgid);
        }
        let Some((record, bits)) = self.groups.get_mut(&asked.mgid) else { return Status::SA_INVALID };
        if method == Method::DELETE {
            *bits = bits.without(asked.join_state);
            return Status::OK;
        }
        *bits = bits.and(asked.join_state);
        let mut record = *record;
        (record.port_gid, record.join_state, record.pkey) = (asked.port_gid, *bits, asked.pkey);
        answer.data[..52].copy_from_slice(&record.to_bytes());
        Status::OK
    }
}
