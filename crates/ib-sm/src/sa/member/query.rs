//! Get and GetTable of MCMemberRecord: groups to everybody, members to the trusted. IBA 1 §15.4.1.2.

use ib_wire::{
    addr::Gid,
    mad::{
        attr::{JoinState, McMemberRecord},
        sa::mc_member_mask as mask,
    },
};

use super::{Group, Groups, Member, record};
use crate::sa::{
    answer::{Outcome, Records},
    request::Request,
    selector::{satisfied, wanted},
};

impl Groups {
    /// The groups of the sender's partitions that match; for the trusted, each member of them.
    pub(in crate::sa) fn query(&self, request: &Request<'_>, limit: usize) -> Outcome {
        let asked: McMemberRecord = request.record();
        let mut records = Records::up_to(limit);
        let one = if request.has(mask::MGID) { self.by_gid(asked.mgid) } else { None };
        let all = self.iter().take(if request.has(mask::MGID) { 0 } else { usize::MAX });
        for group in one.into_iter().chain(all).filter(|group| matches(request, &asked, group)) {
            let is_one_port = request.has(mask::PORT_GID);
            let named = group.members.get(&asked.port_gid.guid()).filter(|_| is_one_port);
            if is_one_port && named.is_none() {
                continue;
            }
            if !request.trusted {
                // Who belongs to a group is not told.
                let join_state = named.map_or(JoinState::FULL, |member| member.join_state);
                if joined(request, &asked, join_state) {
                    let none = JoinState::default();
                    records.add(&record(&group.parameters, group.mlid, Gid::ZERO, none, false), |_| true)?;
                }
                continue;
            }
            let all = group.members.values().take(if is_one_port { 0 } else { usize::MAX });
            let members = named.into_iter().chain(all);
            for Member { gid, join_state, proxy, .. } in members {
                let wanted = joined(request, &asked, *join_state)
                    && (!request.has(mask::PROXY) || *proxy == asked.proxy_join);
                if wanted {
                    records
                        .add(&record(&group.parameters, group.mlid, *gid, *join_state, *proxy), |_| true)?;
                }
            }
        }
        Ok(records)
    }
}

fn joined(request: &Request<'_>, asked: &McMemberRecord, has: JoinState) -> bool {
    !request.has(mask::JOIN_STATE) || asked.join_state.0 & 0xf == has.0 & 0xf
}

fn matches(request: &Request<'_>, asked: &McMemberRecord, group: &Group) -> bool {
    let has = &group.parameters;
    let equal = |bit, same: bool| !request.has(bit) || same;
    let selected = |selector, value| request.has(selector | value);
    request.holds(has.pkey)
        && equal(mask::Q_KEY, asked.qkey == has.qkey)
        && equal(mask::MLID, asked.mlid == group.mlid.into())
        && equal(mask::P_KEY, asked.pkey == has.pkey)
        && equal(mask::TRAFFIC_CLASS, asked.traffic_class == has.traffic_class)
        && equal(mask::SL, asked.sl == has.sl)
        && equal(mask::FLOW_LABEL, asked.flow_label == has.flow_label)
        && equal(mask::HOP_LIMIT, asked.hop_limit == has.hop_limit)
        && equal(mask::SCOPE, asked.scope == has.mgid.scope())
        && satisfied(wanted(selected(mask::MTU_SELECTOR, mask::MTU), asked.mtu_selector, asked.mtu), has.mtu)
        && satisfied(
            wanted(selected(mask::RATE_SELECTOR, mask::RATE), asked.rate_selector, asked.rate),
            has.rate,
        )
        && satisfied(
            wanted(selected(mask::LIFE_SELECTOR, mask::LIFE), asked.life_selector, asked.life),
            has.life,
        )
}
