//! What a request gets: records one after another, or a status.

use alloc::vec::Vec;

use ib_wire::mad::{
    Method, Status,
    attr::Record,
    sa::{RmppHeader, SaMad},
};

/// Records of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    bytes: Vec<u8>,
    offset: u16,
    count: usize,
    limit: usize,
}

/// Records, or why there are none.
pub(super) type Outcome = Result<Records, Status>;

impl Records {
    /// A table that takes `limit` bytes.
    pub(super) fn up_to(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A single record.
    pub(super) fn one(record: &impl Record) -> Self {
        let mut records = Self::up_to(usize::MAX);
        records.add(record, |_| true).expect("there is no limit");
        records
    }

    /// A single attribute that is not a record, `bytes` long up to 200.
    pub(super) fn raw(bytes: &[u8]) -> Self {
        let offset = u16::try_from(bytes.len().div_ceil(8)).unwrap_or(u16::MAX);
        Self { bytes: bytes.to_vec(), offset, count: 1, limit: usize::MAX }
    }

    /// Adds a record if `wanted` says so when shown its bytes.
    pub(super) fn add<R: Record>(
        &mut self,
        record: &R,
        wanted: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), Status> {
        let start = self.bytes.len();
        record.write(&mut self.bytes);
        if !wanted(&self.bytes[start..]) {
            self.bytes.truncate(start);
            return Ok(());
        }
        self.count += 1;
        self.offset = R::OFFSET;
        if self.bytes.len() > self.limit { Err(Status::SA_NO_RESOURCES) } else { Ok(()) }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// What a Get of these means.
    pub(super) fn single(self) -> Outcome {
        match self.count {
            0 => Err(Status::SA_NO_RECORDS),
            1 => Ok(self),
            _ => Err(Status::SA_TOO_MANY),
        }
    }

    /// The answer's header and the records that go with it.
    pub(super) fn answer(self, request: &SaMad) -> (SaMad, Vec<u8>) {
        let mut mad = response(request, Status::OK);
        mad.attribute_offset = self.offset;
        (mad, self.bytes)
    }
}

/// The answer without records: with a status it carries the request's.
pub(super) fn response(request: &SaMad, status: Status) -> SaMad {
    let mut mad = *request;
    let method = request.header.method;
    let method = if method == Method::SET { Method::GET } else { method };
    mad.header.method = Method(method.0 | Method::RESPONSE_BIT);
    mad.header.status = status;
    mad.rmpp = RmppHeader::NONE;
    mad.sm_key = 0;
    mad.attribute_offset = 0;
    if status == Status::OK {
        mad.data = [0; SaMad::DATA_LEN];
    }
    mad
}
