"""What a plan will cost: cells, bytes and minutes, predicted by a probe and compared with what happened."""
