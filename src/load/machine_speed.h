// How fast this machine is right now, by a fixed piece of work: what differs before and after a measurement
// is the machine (its clock frequency, other work on it), not what was measured.
#pragma once

namespace rerankd::load {

struct MachineSpeed {
  double step_ns =
      -1;  // of a chain of dependent multiplications, the fastest of its runs; negative = not measured
  double disturbance = 0;  // median run / fastest run - 1: what else wants this core
};

// Takes about 20 ms on the calling thread.
MachineSpeed MeasureMachineSpeed();

// The relative change of the step's time that counts as another machine.
inline constexpr double kSpeedTolerance = 0.05;
// after / before - 1 in steps per second: -0.1 = a tenth slower. 0 where either is not known.
double SpeedChange(const MachineSpeed& before, const MachineSpeed& after);

}  // namespace rerankd::load
