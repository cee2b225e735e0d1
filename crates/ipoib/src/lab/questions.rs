//! Questions that drivers elsewhere have to answer before a client gets its rows.

use std::{collections::BTreeSet, time::Duration};

use ib_lab::ClientId;
use ib_wire::time::Instant;

use super::{Running, show};
use crate::{
    attach::Answer,
    control::{
        Reply,
        schema::{Noun, Shown},
    },
    os::clock,
};

/// How long a driver may take. One that is stopped is not to keep everybody waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// What has been asked and not yet told.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    last: u64,
}

#[derive(Debug)]
struct Question {
    id: u64,
    noun: Noun,
    host: Option<String>,
    waiting: BTreeSet<ClientId>,
    answered: Vec<ClientId>,
    heard: Vec<Shown>,
    until: Instant,
    reply: Reply<Shown>,
}

impl Questions {
    /// When the first of them is no longer waited for.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|question| question.until).min()
    }

    fn take(&mut self, answer: Answer) {
        for question in &mut self.open {
            let is_meant = answer.shown.is_none() || question.id == answer.id;
            if is_meant && question.waiting.remove(&answer.client) {
                question.answered.extend(answer.shown.is_some().then_some(answer.client));
                question.heard.extend(answer.shown.clone());
            }
        }
    }
}

impl Running {
    /// Asks drivers elsewhere, if there are any, and answers when they have.
    pub(super) fn show(&mut self, noun: Noun, host: Option<String>, reply: Reply<Shown>) {
        let asked = show::asked_for(noun).zip(self.runtime.attach.as_mut());
        self.questions.last += 1;
        let id = self.questions.last;
        let waiting = asked.map(|(noun, attach)| attach.ask(id, noun)).unwrap_or_default();
        let now = clock::now();
        let (waiting, until) = (waiting.into_iter().collect(), now + PATIENCE);
        let (answered, heard) = (Vec::new(), Vec::new());
        self.questions.open.push(Question { id, noun, host, waiting, answered, heard, until, reply });
        self.settle_questions(now);
    }

    /// Answers what can be answered, or has waited long enough.
    pub(super) fn settle_questions(&mut self, now: Instant) {
        let answers = self.runtime.attach.as_mut().map(|attach| attach.take_answers()).unwrap_or_default();
        answers.into_iter().for_each(|answer| self.questions.take(answer));
        let is_done = |question: &mut Question| question.waiting.is_empty() || question.until <= now;
        let done: Vec<Question> = self.questions.open.extract_if(.., is_done).collect();
        for question in done {
            let Question { noun, host, mut heard, answered, waiting, reply, .. } = question;
            let silent: Vec<ClientId> = waiting.into_iter().collect();
            let asked = show::asked_for(noun).zip(self.runtime.attach.as_ref());
            heard.extend(asked.map(|(noun, attach)| attach.rows(noun, &answered, &silent)));
            let _ = reply.send(Ok(show::rows(self, noun, host.as_deref(), heard)));
        }
    }
}
