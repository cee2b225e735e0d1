//! Set(MCMemberRecord): a port joins a group, and makes it if it is not there. IBA 1 §15.2.5.17.2.

use ib_wire::{
    addr::{Gid, Mtu, MulticastGid, PortNum, Rate, Scope},
    ipoib::mgid::broadcast_mgid,
    mad::{
        Status,
        attr::{JoinState, McMemberRecord},
        sa::{Selector, mc_member_mask as mask},
    },
};

use super::{Group, Groups, Member, forwardable_lids, record};
use crate::{
    partition::GroupParameters,
    sa::{
        config::SaConfig,
        counters::Events,
        request::{Request, holds},
        selector::{satisfied, wanted, within},
    },
    subnet::PortId,
};

/// Without these nobody joins or leaves.
pub(super) const JOIN: u64 = mask::MGID | mask::PORT_GID | mask::JOIN_STATE;
/// Without these nobody makes a group.
const CREATE: u64 = JOIN | mask::Q_KEY | mask::TRAFFIC_CLASS | mask::P_KEY | mask::FLOW_LABEL | mask::SL;

impl Groups {
    /// Joins, or says why not.
    pub(in crate::sa) fn join(
        &mut self,
        config: &SaConfig,
        events: &mut Events,
        request: &Request<'_>,
    ) -> Result<McMemberRecord, Status> {
        if !request.has(JOIN) {
            return Err(Status::SA_INSUFFICIENT_COMPONENTS);
        }
        let join = Join { config, request, asked: request.record(), port: member_port(request)? };
        let guid = request.subnet.port(join.port).ok_or(Status::SA_INVALID)?.guid;
        let is_proxy = join.port != request.port;
        let found = self.by_gid(join.asked.mgid);
        if let Some(group) = found {
            join.check_fit(group)?;
            if group.members.get(&guid).is_some_and(|member| !member.proxy && is_proxy) {
                return Err(Status::SA_INVALID);
            }
        }
        let is_member = found.is_some_and(|group| group.members.contains_key(&guid));
        if !is_member && self.members >= config.limits.members {
            events.member_limit += 1;
            return Err(Status::SA_NO_RESOURCES);
        }
        let mgid = match found {
            Some(group) => group.parameters.mgid,
            None => self.create(&join, events)?,
        };
        let join_state = JoinState(join.asked.join_state.0 & 0xf);
        let gid = join.asked.port_gid;
        let join_state = self.add(mgid, guid, Member { port: join.port, gid, join_state, proxy: is_proxy });
        let group = self.get(mgid).ok_or(Status::SA_INVALID)?;
        Ok(record(&group.parameters, group.mlid, gid, join_state, is_proxy))
    }

    fn create(&mut self, join: &Join<'_>, events: &mut Events) -> Result<MulticastGid, Status> {
        let config = join.config;
        if !join.asked.join_state.keeps_alive() {
            return Err(Status::SA_INVALID);
        }
        if !join.request.has(CREATE) {
            return Err(Status::SA_INSUFFICIENT_COMPONENTS);
        }
        let mgid =
            if join.asked.mgid == Gid::ZERO { self.make_mgid(join)? } else { legal_mgid(join.asked.mgid)? };
        let parameters = join.plan(self, mgid)?;
        if self.by_mgid.len() >= config.limits.groups {
            events.group_limit += 1;
            return Err(Status::SA_NO_RESOURCES);
        }
        let like = if config.share_solicited_node_lids { self.solicited_node_like(mgid) } else { None };
        let lids = forwardable_lids(join.request.subnet, config.limits.mlids);
        let Some(mlid) = self.mlids.take(mgid, like, lids) else {
            events.mlid_limit += 1;
            return Err(Status::SA_NO_RESOURCES);
        };
        self.insert(parameters, mlid, false);
        Ok(mgid)
    }

    /// A group identifier of our own: signature 0xA01B, subnet prefix, a count.
    fn make_mgid(&mut self, join: &Join<'_>) -> Result<MulticastGid, Status> {
        let scope = if join.request.has(mask::SCOPE) { join.asked.scope } else { Scope::LINK_LOCAL };
        let prefix = join.request.subnet.prefix().0.to_be_bytes();
        for _ in 0..1000 {
            let mut gid = [0; 16];
            gid[..4].copy_from_slice(&[0xff, 0x10 | scope.0 & 0xf, 0xa0, 0x1b]);
            gid[4..12].copy_from_slice(&prefix);
            gid[12..].copy_from_slice(&self.made.to_be_bytes());
            self.made = self.made.wrapping_add(1);
            if let Some(mgid) = Gid(gid).multicast().filter(|mgid| self.get(*mgid).is_none()) {
                return Ok(mgid);
            }
        }
        Err(Status::SA_NO_RESOURCES)
    }

    /// A group whose LID a solicited-node group of the same partition and scope may share.
    fn solicited_node_like(&self, mgid: MulticastGid) -> Option<ib_wire::addr::MulticastLid> {
        let first = solicited_node(mgid)?;
        let (_, group) = self.by_mgid.range(first..).next()?;
        (solicited_node(group.parameters.mgid) == Some(first)).then_some(group.mlid)
    }
}

struct Join<'a> {
    config: &'a SaConfig,
    request: &'a Request<'a>,
    asked: McMemberRecord,
    port: PortId,
}

impl Join<'_> {
    /// What there is must be what was asked for, and the port able to do it.
    fn check_fit(&self, group: &Group) -> Result<(), Status> {
        let (request, asked, has) = (self.request, &self.asked, &group.parameters);
        let equal = |bit, same: bool| !request.has(bit) || same;
        let fits = equal(mask::Q_KEY, asked.qkey == has.qkey)
            && equal(mask::P_KEY, asked.pkey.admits(has.pkey))
            && equal(mask::MLID, asked.mlid == group.mlid.into())
            && equal(mask::TRAFFIC_CLASS, asked.traffic_class == has.traffic_class)
            && equal(mask::SL, asked.sl == has.sl)
            && equal(mask::FLOW_LABEL, asked.flow_label == has.flow_label)
            && equal(mask::HOP_LIMIT, asked.hop_limit == has.hop_limit)
            && equal(mask::SCOPE, asked.scope == has.mgid.scope())
            && satisfied(self.mtu(), has.mtu)
            && satisfied(self.rate(), has.rate);
        if fits { self.check_port(has) } else { Err(Status::SA_INVALID) }
    }

    /// The port must belong to the partition, and its link carry what the group carries.
    fn check_port(&self, group: &GroupParameters) -> Result<(), Status> {
        let (mtu, rate) = self.link();
        let slow = rate.is_some_and(|rate| rate.mbps() < group.rate.mbps());
        let fits = holds(self.request.subnet, self.port, group.pkey) && group.mtu <= mtu && !slow;
        if fits { Ok(()) } else { Err(Status::SA_INVALID) }
    }

    /// Parameters of a new group.
    fn plan(&self, groups: &Groups, mgid: MulticastGid) -> Result<GroupParameters, Status> {
        let (request, asked) = (self.request, &self.asked);
        let invalid = Status::SA_INVALID;
        if !asked.pkey.is_valid() || request.has(mask::SCOPE) && asked.scope != mgid.scope() {
            return Err(invalid);
        }
        let broadcast = self.broadcast(groups, mgid)?;
        let (port_mtu, port_rate) = self.link();
        let port_rate = port_rate.unwrap_or(Rate::GBPS_10);
        let local = mgid.scope() == Scope::LINK_LOCAL;
        let hop_limit = broadcast.map_or(if local { 0 } else { 255 }, |b| b.hop_limit);
        let life = broadcast.map_or(self.config.packet_life, |b| b.life);
        let parameters = GroupParameters {
            mgid,
            pkey: asked.pkey,
            qkey: asked.qkey,
            mtu: broadcast
                .map_or_else(|| within(self.mtu(), port_mtu), |b| self.same(b.mtu, b.rate).then_some(b.mtu))
                .ok_or(invalid)?,
            rate: broadcast
                .map_or_else(|| within(self.rate(), port_rate), |b| Some(b.rate))
                .ok_or(invalid)?,
            sl: asked.sl,
            life: if request.has(mask::LIFE) { asked.life } else { life },
            traffic_class: asked.traffic_class,
            flow_label: asked.flow_label,
            hop_limit: if request.has(mask::HOP_LIMIT) { asked.hop_limit } else { hop_limit },
        };
        if let Some(b) = broadcast {
            let same = parameters.qkey == b.qkey
                && parameters.pkey.partition() == b.pkey.partition()
                && parameters.sl == b.sl
                && parameters.traffic_class == b.traffic_class
                && parameters.flow_label == b.flow_label
                && parameters.hop_limit == b.hop_limit;
            if !same {
                return Err(invalid);
            }
        }
        self.check_port(&parameters)?;
        Ok(broadcast.map_or(parameters, |b| GroupParameters { pkey: b.pkey, ..parameters }))
    }

    /// The broadcast group that rules a group of IPoIB; none for other groups.
    fn broadcast(&self, groups: &Groups, mgid: MulticastGid) -> Result<Option<GroupParameters>, Status> {
        let [_, _, s0, s1, p0, p1, ..] = mgid.gid().0;
        if !matches!([s0, s1], [0x40 | 0x60, 0x1b]) {
            return Ok(None);
        }
        let ruling = broadcast_mgid(mgid.scope(), ib_wire::addr::PKey(u16::from_be_bytes([p0, p1])));
        if ruling == mgid {
            return if self.config.clients_create_broadcast { Ok(None) } else { Err(Status::SA_INVALID) };
        }
        groups.get(ruling).map(|group| Some(group.parameters)).ok_or(Status::SA_INVALID)
    }

    fn same(&self, mtu: Mtu, rate: Rate) -> bool {
        satisfied(self.mtu(), mtu) && satisfied(self.rate(), rate)
    }

    fn mtu(&self) -> Option<(Selector, Mtu)> {
        let selected = self.request.has(mask::MTU | mask::MTU_SELECTOR);
        wanted(selected, self.asked.mtu_selector, self.asked.mtu)
    }

    fn rate(&self) -> Option<(Selector, Rate)> {
        let selected = self.request.has(mask::RATE | mask::RATE_SELECTOR);
        wanted(selected, self.asked.rate_selector, self.asked.rate)
    }

    /// What the port's link carries. A switch's port 0 has no link that could be slow.
    fn link(&self) -> (Mtu, Option<Rate>) {
        let Some((port, info)) = self.request.subnet.port(self.port).and_then(|p| Some((p, p.info?))) else {
            return (Mtu::B256, None);
        };
        if self.port.num == PortNum::MANAGEMENT {
            return (info.mtu_cap, None);
        }
        let mtu = if port.mtu().bytes().is_some() { port.mtu() } else { info.mtu_cap };
        (mtu, port.rate())
    }
}

/// The port that the record names. Only the trusted may name another than their own.
pub(super) fn member_port(request: &Request<'_>) -> Result<PortId, Status> {
    let asked: McMemberRecord = request.record();
    let port = request.subnet.end_port_by_gid(asked.port_gid).ok_or(Status::SA_INVALID)?;
    let allowed = port == request.port || request.trusted && request.may_see(port);
    if !allowed || asked.join_state.is_empty() {
        return Err(Status::SA_INVALID);
    }
    Ok(port)
}

/// A group identifier that a client may choose. The signature 0xA01B with link-local scope is ours. Groups
/// of IPoIB have their own rules.
fn legal_mgid(gid: Gid) -> Result<MulticastGid, Status> {
    let mgid = gid.multicast().ok_or(Status::SA_INVALID)?;
    let signature = u16::from_be_bytes([gid.0[2], gid.0[3]]);
    let legal = match signature {
        0x401b | 0x601b => true,
        0xa01b if mgid.scope() == Scope::LINK_LOCAL => false,
        _ => mgid.flags() <= 1,
    };
    if legal { Ok(mgid) } else { Err(Status::SA_INVALID) }
}

/// The first possible solicited-node group of IPv6 in the same partition and scope, if this is one.
fn solicited_node(mgid: MulticastGid) -> Option<MulticastGid> {
    let mut gid = mgid.gid();
    let [_, _, 0x60, 0x1b, _, _, 0, 0, 0, 0, 0, 1, 0xff, ..] = gid.0 else { return None };
    gid.0[13..].fill(0);
    gid.multicast()
}
