//! Path records: how to reach a port or a group. IBA 1 §15.2.5.16.
//!
//! A path is what the forwarding tables make of two end ports: its MTU is the smallest and its rate the
//! slowest on the way. There is one path for a pair. Paths that exist in one direction only are given as not
//! reversible, and to those who ask for reversible ones not at all.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Gid, Lid, PKey, Rate, Timeout},
    mad::{
        Method, Status,
        attr::PathRecord,
        sa::{Selector, path_mask as mask},
    },
};

use super::{
    answer::{Outcome, Records},
    config::SaConfig,
    member::{Group, Groups},
    request::{Request, common_key, holds},
    selector::{no_shorter, satisfied, wanted, within},
};
use crate::{partition::Partitions, subnet::PortId};

/// What path questions are answered from beside the subnet.
pub(super) struct Paths<'a> {
    pub(super) config: &'a SaConfig,
    pub(super) partitions: &'a Partitions,
    pub(super) groups: &'a Groups,
}

impl Paths<'_> {
    pub(super) fn query(&self, request: &Request<'_>) -> Outcome {
        if !matches!(request.mad.header.method, Method::GET | Method::GET_TABLE) {
            return Err(Status::BAD_METHOD_ATTRIBUTE);
        }
        let asked: PathRecord = request.record();
        let sources = ports(request, mask::SGID, asked.sgid, mask::SLID, asked.slid)?;
        let mut records = Records::up_to(self.config.limits.table_bytes);
        if request.has(mask::DGID) && asked.dgid.is_multicast() {
            let path =
                self.groups.by_gid(asked.dgid).and_then(|group| to_group(request, &asked, &sources, group));
            path.map_or(Ok(()), |path| records.add(&path, |_| true))?;
            return Ok(records);
        }
        let destinations = ports(request, mask::DGID, asked.dgid, mask::DLID, asked.dlid)?;
        let is_table = request.is_table();
        // Looking at pairs costs, found or not: no more of them than a table may hold.
        let mut pairs_left = self.config.limits.table_bytes / PathRecord::LEN;
        for from in sources {
            for to in &destinations {
                pairs_left = pairs_left.checked_sub(1).ok_or(Status::SA_NO_RESOURCES)?;
                if let Some(path) = self.path(request, &asked, from, *to) {
                    records.add(&path, |_| true)?;
                }
                if !is_table && records.len() > 1 {
                    return Ok(records); // what a Get of several means is certain
                }
            }
        }
        Ok(records)
    }

    fn path(
        &self,
        request: &Request<'_>,
        asked: &PathRecord,
        from: PortId,
        to: PortId,
    ) -> Option<PathRecord> {
        let subnet = request.subnet;
        if !request.may_see(from) || !request.may_see(to) {
            return None;
        }
        let (source, destination) = (subnet.port(from)?, subnet.port(to)?);
        let pkey = self.key(request, asked, from, to)?;
        let sl = self.partitions.by_key(pkey).map_or_else(Default::default, |partition| partition.sl);
        if request.has(mask::SL) && asked.sl != sl {
            return None;
        }
        let shape = subnet.path(from, to)?;
        let reversible = subnet.path(to, from).is_some();
        if request.has(mask::REVERSIBLE) && asked.reversible && !reversible {
            return None;
        }
        let life = if from == to { Timeout(0) } else { self.config.packet_life };
        let by = Wanted::new(request, asked);
        let gid = |guid| Gid::new(subnet.prefix(), guid);
        Some(PathRecord {
            service_id: if request.has(mask::SERVICE_ID) { asked.service_id } else { 0 },
            dgid: gid(destination.guid),
            sgid: gid(source.guid),
            dlid: destination.lid,
            slid: source.lid,
            raw_traffic: false,
            flow_label: if request.has(mask::FLOW_LABEL) { asked.flow_label } else { 0 },
            hop_limit: 0,
            traffic_class: if request.has(mask::TRAFFIC_CLASS) { asked.traffic_class } else { 0 },
            reversible,
            numb_path: 0,
            pkey,
            qos_class: 0,
            sl,
            mtu_selector: Selector::Exactly.into(),
            mtu: within(by.mtu, shape.mtu)?,
            rate_selector: Selector::Exactly.into(),
            rate: within(by.rate, shape.rate.unwrap_or(Rate::GBPS_10))?,
            life_selector: Selector::Exactly.into(),
            life: no_shorter(by.life, life)?,
            preference: 0,
        })
    }

    /// The key that was asked for, if both have it and one of them fully; else the first such.
    #[expect(clippy::unused_self, reason = "a step of `path`")]
    fn key(&self, request: &Request<'_>, asked: &PathRecord, from: PortId, to: PortId) -> Option<PKey> {
        let subnet = request.subnet;
        if !request.has(mask::P_KEY) {
            return common_key(subnet, from, to);
        }
        let has = |port, key: PKey| {
            subnet.port(port).is_some_and(|p| p.valid_pkeys().any(|k| k.partition() == key.partition()))
        };
        let full =
            |port, key: PKey| subnet.port(port).is_some_and(|p| p.valid_pkeys().any(|k| k == key.full()));
        let key = asked.pkey;
        (has(from, key) && has(to, key) && (full(from, key) || full(to, key))).then_some(key)
    }
}

struct Wanted {
    mtu: Option<(Selector, ib_wire::addr::Mtu)>,
    rate: Option<(Selector, Rate)>,
    life: Option<(Selector, Timeout)>,
}

impl Wanted {
    fn new(request: &Request<'_>, asked: &PathRecord) -> Self {
        let has = |selector, value| request.has(selector | value);
        Self {
            mtu: wanted(has(mask::MTU_SELECTOR, mask::MTU), asked.mtu_selector, asked.mtu),
            rate: wanted(has(mask::RATE_SELECTOR, mask::RATE), asked.rate_selector, asked.rate),
            life: wanted(has(mask::LIFE_SELECTOR, mask::LIFE), asked.life_selector, asked.life),
        }
    }
}

/// The ports that GID and LID leave. An unknown GID is an error of its own.
fn ports(
    request: &Request<'_>,
    gid_bit: u64,
    gid: Gid,
    lid_bit: u64,
    lid: Lid,
) -> Result<Vec<PortId>, Status> {
    let subnet = request.subnet;
    let by_gid = match request.has(gid_bit) {
        true if gid.is_multicast() => return Ok(Vec::new()),
        true => Some(subnet.end_port_by_gid(gid).ok_or(Status::SA_BAD_GID)?),
        false => None,
    };
    if !request.has(lid_bit) {
        return Ok(match by_gid {
            Some(port) => alloc::vec![port],
            None => subnet.end_ports().map(|(id, _)| id).collect(),
        });
    }
    let by_lid = subnet.end_port_by_lid(lid).filter(|port| by_gid.is_none_or(|by_gid| by_gid == *port));
    Ok(by_lid.into_iter().collect())
}

/// The path to a group is the group's parameters.
fn to_group(request: &Request<'_>, asked: &PathRecord, from: &[PortId], group: &Group) -> Option<PathRecord> {
    let subnet = request.subnet;
    let from = match from {
        [from] => *from,
        _ => request.port,
    };
    let (parameters, source) = (&group.parameters, subnet.port(from)?);
    let by = Wanted::new(request, asked);
    let fits = request.may_see(from)
        && holds(subnet, from, parameters.pkey)
        && (!request.has(mask::P_KEY) || asked.pkey.partition() == parameters.pkey.partition())
        && (!request.has(mask::SL) || asked.sl == parameters.sl)
        && (!request.has(mask::DLID) || asked.dlid == Lid::from(group.mlid))
        && satisfied(by.mtu, parameters.mtu)
        && satisfied(by.rate, parameters.rate)
        && satisfied(by.life, parameters.life);
    fits.then_some(PathRecord {
        service_id: 0,
        dgid: parameters.mgid.gid(),
        sgid: source.gid(subnet.prefix()),
        dlid: group.mlid.into(),
        slid: source.lid,
        raw_traffic: false,
        flow_label: parameters.flow_label,
        hop_limit: parameters.hop_limit,
        traffic_class: parameters.traffic_class,
        reversible: false,
        numb_path: 0,
        pkey: parameters.pkey,
        qos_class: 0,
        sl: parameters.sl,
        mtu_selector: Selector::Exactly.into(),
        mtu: parameters.mtu,
        rate_selector: Selector::Exactly.into(),
        rate: parameters.rate,
        life_selector: Selector::Exactly.into(),
        life: parameters.life,
        preference: 0,
    })
}
