//! What may be written, and what is added to it: upstream's admission plugins, in its order.
