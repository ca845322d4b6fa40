"""Ready Strategies; the native ones need nothing but this package."""
