//! What a scenario is.

use std::pin::Pin;

use super::Guest;

/// A small story that proves a sentence of the reference.
pub(super) struct Scenario {
    /// What happens, in words.
    pub(super) name: &'static str,
    /// The sections of the reference and their sentences that it proves, verbatim; at least one.
    pub(super) proves: Vec<(&'static str, &'static str)>,
    /// Plays it as a fresh subject; a panic is a failure.
    pub(super) story: Box<dyn FnOnce(Guest) -> Playing>,
}

/// A story that is being played.
pub(super) type Playing = Pin<Box<dyn Future<Output = ()>>>;

/// A scenario that proves a sentence of a section.
pub(super) fn scenario(
    section: &'static str,
    sentence: &'static str,
    name: &'static str,
    story: impl AsyncFnOnce(Guest) + 'static,
) -> Scenario {
    let story = Box::new(|guest| -> Playing { Box::pin(async move { story(guest).await }) });
    Scenario { name, proves: vec![(section, sentence)], story }
}

impl Scenario {
    /// It proves a further sentence, such as a line of the quirks (section 16) or of the edge cases (appendix B).
    pub(super) fn and(mut self, section: &'static str, sentence: &'static str) -> Self {
        self.proves.push((section, sentence));
        self
    }
}
