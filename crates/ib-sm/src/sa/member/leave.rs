//! Delete(MCMemberRecord): a port leaves a group, or part of its membership. IBA 1 §15.2.5.17.4.

use ib_wire::mad::{
    Status,
    attr::{JoinState, McMemberRecord},
};

use super::{
    Groups,
    join::{JOIN, member_port},
    record,
};
use crate::sa::request::Request;

impl Groups {
    /// Takes the named bits off a membership. All must be there.
    pub(in crate::sa) fn leave(&mut self, request: &Request<'_>) -> Result<McMemberRecord, Status> {
        if !request.has(JOIN) {
            return Err(Status::SA_INSUFFICIENT_COMPONENTS);
        }
        let asked: McMemberRecord = request.record();
        let port = member_port(request)?;
        let guid = request.subnet.port(port).ok_or(Status::SA_INVALID)?.guid;
        let group = self.by_gid(asked.mgid).ok_or(Status::SA_INVALID)?;
        let member = group.members.get(&guid).copied().ok_or(Status::SA_INVALID)?;
        let bits = JoinState(asked.join_state.0 & 0xf);
        let is_others = port != request.port && !member.proxy;
        if is_others || !member.join_state.has(bits) {
            return Err(Status::SA_INVALID);
        }
        let (parameters, mlid) = (group.parameters, group.mlid);
        let left = self.subtract(parameters.mgid, guid, bits);
        Ok(record(&parameters, mlid, asked.port_gid, left, member.proxy))
    }
}
