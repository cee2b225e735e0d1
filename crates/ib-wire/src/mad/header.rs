//! The 24 bytes that begin every MAD. IBA 1 §13.4.2.

use crate::{
    addr::Tid,
    layout::{layout, open_enum},
};

layout! {
    /// Common MAD header.
    pub struct MadHeader[24] {
        /// Version of this header, 1.
        base_version: u8 = 0, 8;
        /// Which agent it is for.
        class: MgmtClass = 8, 8;
        /// Version of the class: 1, for SA 2.
        class_version: u8 = 16, 8;
        /// What is asked, or answered.
        method: Method = 24, 8;
        /// Result; in directed-route SMPs its top bit is the direction.
        status: Status = 32, 16;
        /// Hop pointer and hop count of directed-route SMPs.
        class_specific: u16 = 48, 16;
        /// Matches an answer with its question.
        tid: Tid = 64, 64;
        /// What is asked about.
        attribute: AttributeId = 128, 16;
        /// Which part of it.
        modifier: u32 = 160, 32;
    }
}

impl MadHeader {
    /// A request header with no transaction identifier yet.
    pub const fn request(class: MgmtClass, method: Method, attribute: AttributeId, modifier: u32) -> Self {
        Self {
            base_version: 1,
            class,
            class_version: if class.0 == MgmtClass::SUBN_ADM.0 { 2 } else { 1 },
            method,
            status: Status::OK,
            class_specific: 0,
            tid: Tid(0),
            attribute,
            modifier,
        }
    }

    /// True for answers: the response bit, or TrapRepress, which ends a trap.
    pub const fn is_response(&self) -> bool {
        self.method.0 & Method::RESPONSE_BIT != 0 || self.method.0 == Method::TRAP_REPRESS.0
    }
}

impl MgmtClass {
    /// True for subnet management in both its forms: what goes through QP0.
    pub const fn is_smp(self) -> bool {
        matches!(self, Self::SUBN_LID | Self::SUBN_DIRECTED)
    }
}

impl Method {
    /// Set in answers.
    pub const RESPONSE_BIT: u8 = 0x80;
}

open_enum! {
    /// Management class.
    pub struct MgmtClass(u8) {
        /// Subnet management by LID.
        SUBN_LID = 0x01;
        /// Subnet administration.
        SUBN_ADM = 0x03;
        /// Performance management.
        PERFORMANCE = 0x04;
        /// Baseboard management.
        BASEBOARD = 0x05;
        /// Device management.
        DEVICE = 0x06;
        /// Communication management.
        COMMUNICATION = 0x07;
        /// Congestion control.
        CONGESTION = 0x21;
        /// Subnet management by directed route.
        SUBN_DIRECTED = 0x81;
    }

    /// Method; answers have the top bit set.
    pub struct Method(u8) {
        /// Read.
        GET = 0x01;
        /// Write.
        SET = 0x02;
        /// Sent without an answer.
        SEND = 0x03;
        /// An event, repeated until repressed.
        TRAP = 0x05;
        /// A forwarded event.
        REPORT = 0x06;
        /// Ends a trap.
        TRAP_REPRESS = 0x07;
        /// Read all that match.
        GET_TABLE = 0x12;
        /// Read a trace of paths.
        GET_TRACE_TABLE = 0x13;
        /// Read by several keys.
        GET_MULTI = 0x14;
        /// Remove.
        DELETE = 0x15;
        /// Answer to Get and Set.
        GET_RESP = 0x81;
        /// Answer to Report.
        REPORT_RESP = 0x86;
        /// Answer to GetTable.
        GET_TABLE_RESP = 0x92;
        /// Answer to GetMulti.
        GET_MULTI_RESP = 0x94;
        /// Answer to Delete.
        DELETE_RESP = 0x95;
    }

    /// What a MAD is about. The same number means different things in different classes.
    pub struct AttributeId(u16) {
        /// What an agent can do.
        CLASS_PORT_INFO = 0x0001;
        /// An event.
        NOTICE = 0x0002;
        /// A subscription to events (SA).
        INFORM_INFO = 0x0003;
        /// Text that names a node.
        NODE_DESCRIPTION = 0x0010;
        /// What a node is.
        NODE_INFO = 0x0011;
        /// What a switch is.
        SWITCH_INFO = 0x0012;
        /// A port's further GUIDs.
        GUID_INFO = 0x0014;
        /// What a port is and may become.
        PORT_INFO = 0x0015;
        /// Partition keys of a port.
        P_KEY_TABLE = 0x0016;
        /// Lane for each service level.
        SL_TO_VL = 0x0017;
        /// Arbitration between lanes.
        VL_ARBITRATION = 0x0018;
        /// Unicast forwarding, 64 LIDs a block.
        LINEAR_FORWARDING = 0x0019;
        /// Random forwarding (nobody has it).
        RANDOM_FORWARDING = 0x001a;
        /// Multicast forwarding, 32 MLIDs a block.
        MULTICAST_FORWARDING = 0x001b;
        /// What a subnet manager is.
        SM_INFO = 0x0020;
        /// Vendor-specific diagnostics.
        VENDOR_DIAG = 0x0030;
        /// The port's light.
        LED_INFO = 0x0031;
        /// Forward error correction and more.
        PORT_INFO_EXTENDED = 0x0033;
        /// Vendor-specific port state that some tools ask everybody for.
        MLNX_EXT_PORT_INFO = 0xff90;
    }

    /// Result of a request. The low byte is common, the high byte belongs to the class.
    pub struct Status(u16) {
        /// Done.
        OK = 0x0000;
        /// Ask again later.
        BUSY = 0x0001;
        /// Ask somebody else.
        REDIRECT = 0x0002;
        /// Unknown base or class version.
        BAD_VERSION = 0x0004;
        /// Unknown method.
        BAD_METHOD = 0x0008;
        /// The attribute has no such method, or is unknown.
        BAD_METHOD_ATTRIBUTE = 0x000c;
        /// A field of the attribute, or the modifier, has no meaning.
        BAD_FIELD = 0x001c;
        /// SA: out of resources.
        SA_NO_RESOURCES = 0x0100;
        /// SA: the request makes no sense.
        SA_INVALID = 0x0200;
        /// SA: nothing matches.
        SA_NO_RECORDS = 0x0300;
        /// SA: Get matches more than one.
        SA_TOO_MANY = 0x0400;
        /// SA: unknown GID.
        SA_BAD_GID = 0x0500;
        /// SA: components missing in the mask.
        SA_INSUFFICIENT_COMPONENTS = 0x0600;
        /// SA: not allowed.
        SA_DENIED = 0x0700;
    }
}
