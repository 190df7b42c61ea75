"""What a call costs: counted units, dated prices, and the most a call can cost before it is made."""
