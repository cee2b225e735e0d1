//! What a port is beyond PortInfo: error correction, a vendor's own speed. IBA 1 §14.2.5.19.

use crate::layout::{layout, open_enum};

layout! {
    /// Forward error correction of a port, for each speed that may have it: sets of modes, bit n for mode n.
    pub struct PortInfoExtended[64] {
        /// Which of the following mean something: bit 0 for error correction.
        capability_mask: u32 = 0, 32;
        /// Error correction in use.
        fec_active: FecMode = 32, 16;
        /// Modes possible at FDR.
        fdr_fec_supported: u16 = 48, 16;
        /// Modes allowed at FDR.
        fdr_fec_enabled: u16 = 64, 16;
        /// Modes possible at EDR.
        edr_fec_supported: u16 = 80, 16;
        /// Modes allowed at EDR.
        edr_fec_enabled: u16 = 96, 16;
        /// Modes possible at HDR.
        hdr_fec_supported: u16 = 112, 16;
        /// Modes allowed at HDR.
        hdr_fec_enabled: u16 = 128, 16;
        /// Modes possible at NDR.
        ndr_fec_supported: u16 = 144, 16;
        /// Modes allowed at NDR.
        ndr_fec_enabled: u16 = 160, 16;
    }

    /// Mellanox: the speed FDR10, which PortInfo has no bit for. Bit 0 of each.
    pub struct MlnxExtPortInfo[64] {
        /// In a Set: what is to change.
        state_change_enable: u8 = 24, 8;
        /// Speeds possible.
        link_speed_supported: u8 = 56, 8;
        /// Speeds allowed.
        link_speed_enabled: u8 = 88, 8;
        /// Speed in use.
        link_speed_active: u8 = 120, 8;
    }
}

open_enum! {
    /// Forward error correction.
    pub struct FecMode(u16) {
        /// None.
        NONE = 0;
        /// Fire code.
        FIRE_CODE = 1;
        /// Reed-Solomon.
        REED_SOLOMON = 2;
        /// Reed-Solomon with shorter blocks.
        REED_SOLOMON_LOW_LATENCY = 3;
    }
}

impl FecMode {
    /// Its bit in a set of modes.
    pub const fn bit(self) -> u16 {
        if self.0 < 16 { 1 << self.0 } else { 0 }
    }
}

impl PortInfoExtended {
    /// Bit of `capability_mask`: the port says what error correction it has.
    pub const FEC: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_and_enabled_alternate_from_the_seventh_byte_on() {
        let mut info = PortInfoExtended::from_bytes(&[0; 64]);
        (info.capability_mask, info.fec_active) = (PortInfoExtended::FEC, FecMode::REED_SOLOMON);
        (info.edr_fec_supported, info.ndr_fec_enabled) = (FecMode::REED_SOLOMON.bit(), 0xabcd);
        let bytes = info.to_bytes();
        assert_eq!(bytes[..14], [0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 4, 0, 0]);
        assert_eq!(bytes[20..22], [0xab, 0xcd]);
        assert_eq!(FecMode(16).bit(), 0);
        let mellanox = MlnxExtPortInfo::from_bytes(&core::array::from_fn(|i| u8::try_from(i).unwrap_or(0)));
        assert_eq!((mellanox.state_change_enable, mellanox.link_speed_supported), (3, 7));
        assert_eq!((mellanox.link_speed_enabled, mellanox.link_speed_active), (11, 15));
    }
}
