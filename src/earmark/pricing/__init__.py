"""What a call costs: counted units, dated prices, and the most it can cost before it is made."""
