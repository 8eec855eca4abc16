//! How a table of the configuration is declared: each key once, with its type.

use serde::Serialize;

/// Declares a table whose keys are all optional, with a method for each key that sets it. Methods
/// of keys before the semicolon convert their argument; those after it, such as of numbers, do not.
macro_rules! table {
    (
        $(#[$about:meta])*
        $name:ident {
            $($(#[$note:meta])* $key:ident: $type:ty,)* $(; $($plain:ident: $exact:ty,)*)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, serde::Serialize)]
        pub struct $name {
            $(
                $(#[$note])*
                #[serde(skip_serializing_if = "Option::is_none")]
                $key: Option<$type>,
            )*
            $($(
                #[serde(skip_serializing_if = "Option::is_none")]
                $plain: Option<$exact>,
            )*)?
        }

        impl $name {
            $(
                pub fn $key(mut self, value: impl Into<$type>) -> Self {
                    self.$key = Some(value.into());
                    self
                }
            )*
            $($(
                pub fn $plain(mut self, value: $exact) -> Self {
                    self.$plain = Some(value);
                    self
                }
            )*)?
        }
    };
}
pub(super) use table;

/// A list of names or patterns.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Names(Vec<String>);

impl Names {
    /// An empty list.
    pub fn none() -> Self {
        Self::default()
    }
}

impl<N: ToString, const COUNT: usize> From<[N; COUNT]> for Names {
    fn from(names: [N; COUNT]) -> Self {
        Self(names.iter().map(ToString::to_string).collect())
    }
}

impl<N: ToString> From<&[N]> for Names {
    fn from(names: &[N]) -> Self {
        Self(names.iter().map(ToString::to_string).collect())
    }
}

impl<N: ToString> From<Vec<N>> for Names {
    fn from(names: Vec<N>) -> Self {
        names.as_slice().into()
    }
}
