//! Planted mistakes, by which the simulations show that they would find such ones. They are there with the feature `mutants` only,
//! which the shipped binary does not have; without it `is_planted` is false when it is compiled, and nothing of them is left.

/// Makes an enum of mistakes, each named by what is wrong with it, and the means to plant one in a thread.
macro_rules! mutants {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Whether mistakes can be planted in this build.
        pub const MUTANTS: bool = cfg!(feature = "mutants");

        /// A mistake, named by what is wrong with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[$doc])+ $name,)+
        }

        impl Mutant {
            /// All there are.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];
        }

        #[cfg(feature = "mutants")]
        mod planted {
            use std::cell::Cell;

            use super::Mutant;

            thread_local! {
                static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
            }

            /// Whether this mistake is planted in this thread.
            #[must_use]
            pub fn is_planted(mutant: Mutant) -> bool {
                PLANTED.get() == Some(mutant)
            }

            /// Plants a mistake in this thread until what this returns is dropped.
            #[must_use]
            pub fn plant(mutant: Mutant) -> Planted {
                PLANTED.set(Some(mutant));
                Planted(())
            }

            /// A mistake is planted in the thread that has this.
            #[derive(Debug)]
            pub struct Planted(());

            impl Drop for Planted {
                fn drop(&mut self) {
                    PLANTED.set(None);
                }
            }
        }

        #[cfg(feature = "mutants")]
        pub use planted::{Planted, is_planted, plant};

        /// Whether this mistake is planted: in this build none is.
        #[cfg(not(feature = "mutants"))]
        #[must_use]
        pub const fn is_planted(_: Mutant) -> bool {
            false
        }
    };
}

pub(crate) use mutants;
