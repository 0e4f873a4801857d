"""Services, their policies, and the supervisor that keeps them."""
