//! One of something for each class of callers.

use crate::policy::Priority;

/// One for each class.
#[derive(Debug, Default)]
pub(super) struct ByPriority<T> {
    pub interactive: T,
    pub batch: T,
}

impl<T> ByPriority<T> {
    pub fn of(&self, priority: Priority) -> &T {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Batch => &self.batch,
        }
    }

    pub fn of_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Batch => &mut self.batch,
        }
    }
}
