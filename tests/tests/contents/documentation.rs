//! Pods as Kubernetes' own pages show them, unchanged. Images of the same names are brought along.
