# frozen_string_literal: true

require "minitest/reporters"

# A JUnit report for each class of tests, in the folder that REPORTS names, beside what is printed.
Minitest::Reporters.use! [
  Minitest::Reporters::DefaultReporter.new,
  Minitest::Reporters::JUnitReporter.new(ENV.fetch("REPORTS"), false)
]
