//! Addresses of MADs as programs have them, and as the fabric has them.

use ib_umad::frame::Address;
use ib_wire::{
    addr::{Gid, Lid, PKey, QKey, Qpn, ServiceLevel},
    packet::GlobalRoute,
    ud::{MadAddress, PortView},
};

/// Where a program wants its MAD to go. `view` is of its port; an SMP needs none.
pub(super) fn to_fabric(address: &Address, view: impl FnOnce() -> PortView) -> MadAddress {
    if Qpn::new(address.qpn) == Qpn::SMI {
        return MadAddress { sl: ServiceLevel::new(address.sl), ..MadAddress::smi(Lid(address.lid)) };
    }
    let view = view();
    let pkey = view.pkeys.get(usize::from(address.pkey_index)).copied().unwrap_or(PKey::INVALID);
    let global = address.grh.then(|| GlobalRoute {
        sgid: view.gid(),
        dgid: Gid(address.gid),
        traffic_class: address.traffic_class,
        flow_label: address.flow_label,
        hop_limit: address.hop_limit,
    });
    MadAddress {
        lid: Lid(address.lid),
        qpn: Qpn::new(address.qpn),
        sl: ServiceLevel::new(address.sl),
        pkey,
        global,
    }
}

/// Where a MAD came from, as a program is told.
pub(super) fn to_program(from: &MadAddress, view: impl FnOnce() -> PortView) -> Address {
    if from.qpn == Qpn::SMI {
        return Address { lid: from.lid.0, sl: from.sl.get(), ..Address::default() };
    }
    let view = view();
    let same = |key: &PKey| key.is_valid() && key.partition() == from.pkey.partition();
    let index = view.pkeys.iter().position(same).and_then(|index| u16::try_from(index).ok());
    let mut address = Address {
        qpn: from.qpn.get(),
        qkey: QKey::GSI.0,
        lid: from.lid.0,
        sl: from.sl.get(),
        pkey_index: index.unwrap_or(0),
        ..Address::default()
    };
    if let Some(route) = from.global {
        address.grh = true;
        address.gid = route.dgid.0;
        address.hop_limit = route.hop_limit;
        address.traffic_class = route.traffic_class;
        address.flow_label = route.flow_label;
    }
    address
}
