//! Whether a sequence may have the components that a PUT gives it: with all sequences among them inlined it has a number of actions
//! within the limit, and none of them is the sequence itself.

use triplane_model::FullName;

use super::text;

/// Looks through the components of a sequence. Ask [`Inlining::next_name`] for names and answer each with [`Inlining::found`].
#[derive(Clone, Debug)]
pub struct Inlining {
    sequence: FullName,
    components_max: usize,
    /// What is left of the sequence, of the sequence in it that is looked through, and so on.
    left: Vec<std::vec::IntoIter<FullName>>,
    actions: usize,
}

/// Why a sequence is refused: one of OpenWhisk's texts, for a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// What a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// An action that runs in a container.
    Action,
    /// A sequence of these.
    Sequence(Vec<FullName>),
    /// Nothing.
    Missing,
}

impl Inlining {
    /// Begins. `sequence` is the name that is written to, not through a binding.
    ///
    /// # Errors
    /// When there are no components, or too many of them.
    pub fn new(
        sequence: FullName,
        components: Vec<FullName>,
        components_max: usize,
    ) -> Result<Self, Refused> {
        let mut inlining = Self { sequence, components_max, left: Vec::new(), actions: 0 };
        if components.is_empty() {
            return Err(Refused(text::SEQUENCE_EMPTY));
        }
        inlining.enter(components)?;
        Ok(inlining)
    }

    /// The next component to look up, if there is one left.
    pub fn next_name(&mut self) -> Option<FullName> {
        loop {
            match self.left.last_mut()?.next() {
                Some(name) => return Some(name),
                None => drop(self.left.pop()),
            }
        }
    }

    /// Takes in what the component is that was asked for; `name` is where it lives, whatever binding it was named through.
    ///
    /// # Errors
    /// When that makes the sequence one that may not be.
    pub fn found(&mut self, name: &FullName, component: Component) -> Result<(), Refused> {
        if *name == self.sequence {
            return Err(Refused(text::SEQUENCE_CYCLIC));
        }
        match component {
            Component::Missing => Err(Refused(text::COMPONENT_MISSING)),
            Component::Sequence(components) => self.enter(components),
            Component::Action if self.actions >= self.components_max => Err(Refused(text::SEQUENCE_TOO_LONG)),
            Component::Action => {
                self.actions += 1;
                Ok(())
            }
        }
    }

    /// Sequences may be within each other as deeply as they may be long: a bound for what was written before there was this check, or
    /// at the same time.
    fn enter(&mut self, components: Vec<FullName>) -> Result<(), Refused> {
        if components.len() > self.components_max || self.left.len() >= self.components_max {
            return Err(Refused(text::SEQUENCE_TOO_LONG));
        }
        self.left.push(components.into_iter());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::composition::tests::name;

    /// Checks the sequence `s` of these, where sequences are written as `name=a,b` and every name but `missing` is an action.
    fn check(components: &str, sequences: &[&str]) -> Result<(), &'static str> {
        let list = |text: &str| -> Vec<FullName> {
            text.split(',').filter(|text| !text.is_empty()).map(name).collect()
        };
        let sequences: HashMap<FullName, Vec<FullName>> = sequences
            .iter()
            .filter_map(|text| text.split_once('='))
            .map(|(sequence, of)| (name(sequence), list(of)))
            .collect();
        let mut inlining = Inlining::new(name("s"), list(components), 4).map_err(|refused| refused.0)?;
        while let Some(component) = inlining.next_name() {
            let found = match sequences.get(&component) {
                Some(components) => Component::Sequence(components.clone()),
                None if component == name("missing") => Component::Missing,
                None => Component::Action,
            };
            inlining.found(&component, found).map_err(|refused| refused.0)?;
        }
        Ok(())
    }

    #[test]
    fn a_sequence_of_as_many_actions_as_it_may_have_is_taken() {
        assert_eq!(check("a", &[]), Ok(()));
        assert_eq!(check("a,a,a,a", &[]), Ok(()));
        assert_eq!(check("t,a,t", &["t=a"]), Ok(()));
    }

    #[test]
    fn too_many_actions_are_refused_also_when_they_are_in_sequences() {
        for (components, sequences) in
            [("a,a,a,a,a", &[][..]), ("t,t,a", &["t=a,b"]), ("t", &["t=u", "u=v", "v=w", "w=x", "x=a"])]
        {
            assert_eq!(check(components, sequences), Err(text::SEQUENCE_TOO_LONG), "{components}");
        }
    }

    #[test]
    fn none_or_missing_components_are_refused() {
        assert_eq!(check("", &[]), Err(text::SEQUENCE_EMPTY));
        assert_eq!(check("a,missing", &[]), Err(text::COMPONENT_MISSING));
        assert_eq!(check("t", &["t=missing"]), Err(text::COMPONENT_MISSING));
    }

    #[test]
    fn a_sequence_that_is_in_itself_is_refused_however_deeply() {
        for (components, sequences) in
            [("s", &[][..]), ("a,s", &[]), ("t", &["t=s"]), ("t", &["t=u", "u=a,s"])]
        {
            assert_eq!(check(components, sequences), Err(text::SEQUENCE_CYCLIC), "{components}");
        }
    }

    #[test]
    fn a_cycle_elsewhere_ends_the_search() {
        assert_eq!(check("t", &["t=u", "u=t"]), Err(text::SEQUENCE_TOO_LONG));
    }
}
