//! Get and Set of what a port is beyond PortInfo: error correction, a vendor's own speed. Links here have neither,
//! and say so. IBA 1 §14.2.5.19.

use ib_wire::mad::{
    Status,
    attr::{FecMode, MlnxExtPortInfo, PortInfoExtended},
};

use super::{Data, Device};

/// The vendor that asks its own devices for MlnxExtPortInfo. To others it means nothing.
const MELLANOX: u32 = 0x2c9;

/// The one mode there is.
const NO_FEC: u16 = FecMode::NONE.bit();

impl Device<'_> {
    pub(super) fn get_port_info_extended(&self, modifier: u32) -> Result<Data, Status> {
        let info = &self.ports[self.port_info_port(modifier)?].info;
        let modes = |bit| if info.link_speed_ext_supported & bit != 0 { NO_FEC } else { 0 };
        let [fdr, edr, hdr, ndr] = [1, 2, 4, 8].map(modes);
        let extended = PortInfoExtended {
            capability_mask: PortInfoExtended::FEC,
            fec_active: FecMode::NONE,
            fdr_fec_supported: fdr,
            fdr_fec_enabled: fdr,
            edr_fec_supported: edr,
            edr_fec_enabled: edr,
            hdr_fec_supported: hdr,
            hdr_fec_enabled: hdr,
            ndr_fec_supported: ndr,
            ndr_fec_enabled: ndr,
        };
        Ok(extended.to_bytes())
    }

    /// There is nothing to change: no mode but the one there is can be allowed.
    pub(super) fn set_port_info_extended(&self, modifier: u32, data: &Data) -> Result<(), Status> {
        let now = PortInfoExtended::from_bytes(&self.get_port_info_extended(modifier)?);
        let asked = PortInfoExtended::from_bytes(data);
        let allowed = [
            (asked.fdr_fec_enabled, now.fdr_fec_supported),
            (asked.edr_fec_enabled, now.edr_fec_supported),
            (asked.hdr_fec_enabled, now.hdr_fec_supported),
            (asked.ndr_fec_enabled, now.ndr_fec_supported),
        ];
        if allowed.iter().all(|(asked, supported)| asked & !supported == 0) {
            Ok(())
        } else {
            Err(Status::BAD_FIELD)
        }
    }

    /// A device of that vendor without FDR10.
    pub(super) fn get_mlnx_port_info(&self, modifier: u32) -> Result<Data, Status> {
        self.mellanox()?;
        self.port_info_port(modifier)?;
        Ok(MlnxExtPortInfo::from_bytes(&[0; MlnxExtPortInfo::LEN]).to_bytes())
    }

    pub(super) fn set_mlnx_port_info(&self, modifier: u32, data: &Data) -> Result<(), Status> {
        self.mellanox()?;
        self.port_info_port(modifier)?;
        let asked = MlnxExtPortInfo::from_bytes(data);
        let speed = asked.state_change_enable != 0 && asked.link_speed_enabled != 0;
        if speed { Err(Status::BAD_FIELD) } else { Ok(()) }
    }

    const fn mellanox(&self) -> Result<(), Status> {
        if self.node.info.vendor_id == MELLANOX { Ok(()) } else { Err(Status::BAD_METHOD_ATTRIBUTE) }
    }
}
