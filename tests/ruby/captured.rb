# frozen_string_literal: true

require "minitest/autorun"

require "machine"

# What programs of other systems print, as they print it, in place of running them.
module Captured
  def captured(name)
    File.binread(File.join(__dir__, "captured", name)).force_encoding("UTF-8")
  end

  # A Kit::Bridges that finds these files where it would run these programs.
  def bridges(os, programs)
    run = lambda do |*command|
      _, file = programs.find { |words, _| (words.split - command).empty? }
      file && captured(file)
    end
    Kit::Bridges.new(os: os, run: run)
  end

  def mistake(&block)
    assert_raises(Kit::Mistake, &block).message
  end
end
